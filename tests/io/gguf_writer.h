#pragma once
// An independent GGUF writer for tests. It writes whatever it is told, legal or not, and remembers where it put things.

#include <bit>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace packhorse::testing {

template <class T>
void put(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}
inline void put_string(std::string& out, std::string_view text) {
  put<uint64_t>(out, text.size());
  out += text;
}

/// A metadata entry: the value as it stands in the file.
struct GgufKey {
  std::string name;
  uint32_t type;
  std::string value;
};
struct GgufTensor {
  std::string name;
  std::vector<uint64_t> dims;  // K first
  uint32_t type;
  uint64_t n_bytes;
  std::string data{};  // up to n_bytes, the rest is filled up
};

inline GgufKey u16_key(std::string name, uint16_t value) {
  GgufKey key{std::move(name), 2, {}};
  put(key.value, value);
  return key;
}
inline GgufKey u32_key(std::string name, uint32_t value) {
  GgufKey key{std::move(name), 4, {}};
  put(key.value, value);
  return key;
}
inline GgufKey i32_key(std::string name, int32_t value) {
  GgufKey key{std::move(name), 5, {}};
  put(key.value, value);
  return key;
}
inline GgufKey f32_key(std::string name, float value) {
  GgufKey key{std::move(name), 6, {}};
  put(key.value, value);
  return key;
}
inline GgufKey string_key(std::string name, std::string_view value) {
  GgufKey key{std::move(name), 8, {}};
  put_string(key.value, value);
  return key;
}
inline GgufKey strings_key(std::string name, const std::vector<std::string>& values) {
  GgufKey key{std::move(name), 9, {}};
  put<uint32_t>(key.value, 8);
  put<uint64_t>(key.value, values.size());
  for (const auto& value : values) put_string(key.value, value);
  return key;
}
template <class T>
GgufKey array_key(std::string name, uint32_t element_type, const std::vector<T>& values) {
  GgufKey key{std::move(name), 9, {}};
  put<uint32_t>(key.value, element_type);
  put<uint64_t>(key.value, values.size());
  for (const T value : values) put(key.value, value);
  return key;
}

struct GgufFile {
  std::vector<GgufKey> keys;
  std::vector<GgufTensor> tensors;
  std::vector<size_t> data_order;  // of tensors; empty = as listed
  uint64_t alignment = 32;         // that the file uses; the key is separate
  uint32_t version = 3;

  std::map<std::string, size_t>
      at;  // set by write: "n_tensors", "n_kv", and "<name>" of keys and tensors, "<tensor>.dims" ...

  std::string write() {
    std::string out = "GGUF";
    put(out, version);
    at["n_tensors"] = out.size();
    put<uint64_t>(out, tensors.size());
    at["n_kv"] = out.size();
    put<uint64_t>(out, keys.size());
    for (const GgufKey& key : keys) {
      at[key.name] = out.size();
      put_string(out, key.name);
      at[key.name + ".type"] = out.size();
      put(out, key.type);
      at[key.name + ".value"] = out.size();
      out += key.value;
    }
    const std::vector<uint64_t> offsets = layout();
    for (size_t i = 0; i < tensors.size(); ++i) {
      const GgufTensor& tensor = tensors[i];
      at[tensor.name] = out.size();
      put_string(out, tensor.name);
      at[tensor.name + ".n_dims"] = out.size();
      put<uint32_t>(out, static_cast<uint32_t>(tensor.dims.size()));
      at[tensor.name + ".dims"] = out.size();
      for (const uint64_t dim : tensor.dims) put(out, dim);
      at[tensor.name + ".type"] = out.size();
      put(out, tensor.type);
      at[tensor.name + ".offset"] = out.size();
      put(out, offsets[i]);
    }
    out.resize(align(out.size()));
    at["data"] = out.size();
    out.resize(out.size() + end_, 'd');
    for (size_t i = 0; i < tensors.size(); ++i)
      out.replace(at["data"] + offsets[i], tensors[i].data.size(), tensors[i].data);
    return out;
  }

 private:
  uint64_t align(uint64_t n) const { return (n + alignment - 1) / alignment * alignment; }
  std::vector<uint64_t> layout() {
    std::vector<uint64_t> offsets(tensors.size());
    uint64_t next = 0;
    for (size_t i = 0; i < tensors.size(); ++i) {
      const size_t t = data_order.empty() ? i : data_order[i];
      offsets[t] = next;
      end_ = next + tensors[t].n_bytes;
      next = align(end_);
    }
    return offsets;
  }
  uint64_t end_ = 0;  // of the data, without padding
};

/// `bytes` with a number written over what stands at `position`.
template <class T>
std::string poke(std::string bytes, size_t position, T value) {
  std::memcpy(bytes.data() + position, &value, sizeof value);
  return bytes;
}

}  // namespace packhorse::testing
