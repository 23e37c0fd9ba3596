#pragma once
// What the tests of the dialects share: reading and writing safetensors, decoding plans, comparing rows.

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "formats/format.h"
#include "io/safetensors.h"
#include "testing.h"

namespace packhorse::testing {

/// Tensors of one .safetensors file.
class TensorFile {
 public:
  explicit TensorFile(const std::string& path) : file_(path), header_(read_safetensors_header(file_)) {}

  const TensorMap& tensors() const { return header_.tensors; }
  const TensorInfo& info(std::string_view name) const {
    const auto found = header_.tensors.find(name);
    if (found == header_.tensors.end()) throw std::runtime_error("no tensor " + std::string(name));
    return found->second;
  }
  template <class T>
  std::vector<T> get(std::string_view name) const {
    const TensorInfo& tensor = info(name);
    std::vector<T> values(tensor.n_bytes / sizeof(T));
    file_.read(tensor.offset, std::as_writable_bytes(std::span(values)));
    return values;
  }

 private:
  File file_;
  SafetensorsHeader header_;
};

/// Tensors to be written as a model directory.
class TensorWriter {
 public:
  template <class T>
  void add(const std::string& name, std::string dtype, std::vector<int64_t> shape, const std::vector<T>& values) {
    std::string bytes;
    if (!values.empty()) bytes.assign(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
    tensors_[name] = {std::move(dtype), std::move(shape), std::move(bytes)};
  }
  void add_text(const std::string& name, std::string_view text) {
    add(name, "U8", {static_cast<int64_t>(text.size())}, std::vector<char>(text.begin(), text.end()));
  }
  void remove(const std::string& name) { tensors_.erase(name); }

  /// Writes model.safetensors and config.json into `dir`.
  void write(const TempDir& dir, const Json& config) const {
    Json header = Json::object();
    std::string data;
    for (const auto& [name, tensor] : tensors_) {
      header[name] = {{"dtype", tensor.dtype},
                      {"shape", tensor.shape},
                      {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
      data += tensor.bytes;
    }
    const std::string text = header.dump();
    const uint64_t n = text.size();
    write_text(dir.file("model.safetensors"), std::string(reinterpret_cast<const char*>(&n), sizeof n) + text + data);
    write_text(dir.file("config.json"), config.dump());
  }
  /// Writes a config that says no more than it must, and opens the folder.
  CheckpointView open(const TempDir& dir, const Json& quantization_config = nullptr) const {
    Json config = {{"architectures", {"LlamaForCausalLM"}}};
    if (!quantization_config.is_null()) config["quantization_config"] = quantization_config;
    write(dir, config);
    return open_checkpoint(dir.path().string());
  }

 private:
  struct Tensor {
    std::string dtype;
    std::vector<int64_t> shape;
    std::string bytes;
  };
  std::map<std::string, Tensor> tensors_;
};

/// Folder of a fixture: the full set's, else the repository's own; empty when neither has it.
inline std::filesystem::path fixture(const std::string& name) {
  for (const auto& root : {checkpoints_dir(), golden_dir()}) {
    if (std::filesystem::exists(root / "formats" / name)) return root / "formats" / name;
  }
  return {};
}

/// Rows [begin, begin + count) of a plan as floats.
inline std::vector<float> decoded_rows(const WeightPlan& plan, int64_t begin, int64_t count) {
  RowBlock rows;
  plan.read(begin, count, rows);
  std::vector<float> out(static_cast<size_t>(count * plan.k));
  for (int64_t r = 0; r < count; ++r) decode_row(plan.encoding, rows, r, out.data() + r * plan.k);
  return out;
}

inline int64_t ulps(float a, float b) {
  const auto place = [](float value) {
    const auto bits = std::bit_cast<int32_t>(value);
    return static_cast<int64_t>(bits < 0 ? INT32_MIN - bits : bits);
  };
  return std::abs(place(a) - place(b));
}

inline int64_t worst_ulps(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INT64_MAX;
  int64_t worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, ulps(a[i], b[i]));
  return worst;
}

/// Reads the plan in odd pieces, some of them twice and out of order; each row must be that of one whole read.
inline void expect_any_read_order(const WeightPlan& plan) {
  const std::vector<float> whole = decoded_rows(plan, 0, plan.n);
  for (const int64_t step : {int64_t{1}, int64_t{3}, int64_t{7}, int64_t{32}}) {
    const int64_t n_pieces = (plan.n + step - 1) / step;
    for (int64_t piece = n_pieces; piece-- > 0;) {
      if (n_pieces > 40 && piece % 5 != 0 && piece + 3 < n_pieces) continue;
      const int64_t begin = piece * step, count = std::min(step, plan.n - begin);
      const std::vector<float> rows = decoded_rows(plan, begin, count);
      ASSERT_EQ(std::memcmp(rows.data(), whole.data() + begin * plan.k, rows.size() * sizeof(float)), 0)
          << plan.name << " rows " << begin << " + " << count;
    }
  }
}

/// Message of the Error of this kind that `action` must throw; one line.
template <class F>
std::string failure_of(ErrorKind kind, F&& action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.kind(), kind) << message;
    EXPECT_EQ(message.find('\n'), message.npos) << message;
    return message;
  }
  ADD_FAILURE() << "no error";
  return "";
}

/// A module whose name in the checkpoint is its own.
inline Module module_of(const std::string& name, int64_t n, int64_t k) {
  return {.name = name, .source = name, .n = n, .k = k, .source_row = {}};
}

}  // namespace packhorse::testing
