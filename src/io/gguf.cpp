#include "io/gguf.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/checked_size.h"
#include "base/error.h"
#include "base/utf8.h"
#include "io/gguf_reader.h"

namespace packhorse {
namespace {

enum class ValueType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };
/// Least bytes of an array element, by ValueType; a string is at least its length.
constexpr uint64_t kMinBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8};

constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMaxTensorNameBytes = 63;
constexpr uint32_t kMaxDims = 4;
constexpr uint64_t kMaxDim = std::numeric_limits<int64_t>::max();
constexpr uint64_t kDefaultAlignment = 32;

/// Valid UTF-8 without control characters.
bool is_printable_name(std::string_view name) {
  while (!name.empty()) {
    const Utf8Char c = decode_utf8(name);
    if (!c.valid || c.code_point < 0x20 || (c.code_point >= 0x7f && c.code_point < 0xa0)) return false;
    name.remove_prefix(c.n_bytes);
  }
  return true;
}

/// What a wrong first four bytes give away.
std::string_view magic_hint(std::string_view magic) {
  if (magic == "ggjt" || magic == "ggml" || magic == "ggmf" || magic == "ggla") return "; a ggml file from before GGUF";
  if (magic.starts_with("PK")) return "; a ZIP archive";
  if (magic.starts_with("<")) return "; looks like an HTML page: was the download refused?";
  if (magic == "vers") return "; looks like a Git LFS pointer: fetch the file itself";
  return "";
}

class HeaderParser {
 public:
  explicit HeaderParser(const File& file) : file_(file), reader_(file) {}

  GgufHeader parse() {
    read_preamble();
    for (uint64_t i = 0; i < n_keys_; ++i) read_key(i);
    for (uint64_t i = 0; i < n_tensors_; ++i) read_tensor(i);
    place_tensors();
    return std::move(header_);
  }

 private:
  void read_preamble() {
    std::string magic;
    for (int i = 0; i < 4; ++i) magic.push_back(reader_.get<char>());
    if (magic != "GGUF") {
      const auto byte = [&](size_t i) { return static_cast<uint8_t>(magic[i]); };
      fail_model("{}: not a GGUF file (magic {:02x} {:02x} {:02x} {:02x}{})", printable(file_.name()), byte(0), byte(1),
                 byte(2), byte(3), magic_hint(magic));
    }
    const auto version = reader_.get<uint32_t>();
    if (version != 0 && (version & 0xffff) == 0) {
      fail_model("{}: big-endian GGUF is not supported", printable(file_.name()));
    }
    if (version < 2 || version > 3) {
      fail_model("{}: GGUF version {} is not supported (2..3)", printable(file_.name()), version);
    }
    // Shortest possible entries: name length, dimension count, type and offset; key length and value type.
    n_tensors_ = read_total("tensors", 24);
    n_keys_ = read_total("keys", 12);
  }

  uint64_t read_total(std::string_view what, uint64_t min_bytes) {
    const auto n = reader_.get<uint64_t>();
    const uint64_t limit = file_.size() / min_bytes;
    if (n > limit) reader_.fail_end(fmt::format("too many {} (got {}, limit {})", what, n, limit));
    return n;
  }

  void read_key(uint64_t index) {
    reader_.enter("key", index);
    std::string key = reader_.get_string(kMaxKeyBytes);
    if (key.empty()) reader_.fail_here("empty name");
    if (!is_printable_name(key)) reader_.fail_here("name '{}' is not printable UTF-8", printable(key));
    key_ = printable(key);
    const auto type = reader_.get<uint32_t>();
    if (key == "general.alignment") check_alignment_type(type);
    Json value = type == static_cast<uint32_t>(ValueType::array) ? read_array() : read_scalar(type, true);
    if (!header_.metadata.get_ref<Json::object_t&>().try_emplace(std::move(key), std::move(value)).second) {
      fail_key("duplicate key");
    }
  }

  Json read_array() {
    const auto type = reader_.get<uint32_t>();
    if (type == static_cast<uint32_t>(ValueType::array)) fail_key("nested arrays are not supported");
    if (type >= std::size(kMinBytes)) fail_key("array element type {} is unknown", type);
    const uint64_t n = reader_.get_count(kMinBytes[type]);
    n_elements_ += n;  // cannot wrap: each count is at most the size of the file
    if (n_elements_ > kMaxJsonValues)
      fail_key("too many array elements (got {}, limit {})", n_elements_, kMaxJsonValues);
    Json::array_t elements;
    elements.reserve(n);
    for (uint64_t i = 0; i < n; ++i) elements.push_back(read_scalar(type, false));
    return elements;
  }

  Json read_scalar(uint32_t type, bool must_be_finite) {
    switch (static_cast<ValueType>(type)) {
      case ValueType::u8:
        return read_integer<uint8_t>();
      case ValueType::i8:
        return read_integer<int8_t>();
      case ValueType::u16:
        return read_integer<uint16_t>();
      case ValueType::i16:
        return read_integer<int16_t>();
      case ValueType::u32:
        return read_integer<uint32_t>();
      case ValueType::i32:
        return read_integer<int32_t>();
      case ValueType::u64:
        return read_integer<uint64_t>();
      case ValueType::i64:
        return read_integer<int64_t>();
      case ValueType::f32:
        return read_float<float>(must_be_finite);
      case ValueType::f64:
        return read_float<double>(must_be_finite);
      case ValueType::boolean:
        return read_boolean();
      case ValueType::string:
        return reader_.get_string();
      case ValueType::array:
        break;
    }
    fail_key("value type {} is unknown", type);
  }

  /// Like JSON text, a value that is not negative is unsigned whatever its type.
  template <class T>
  Json read_integer() {
    const T value = reader_.get<T>();
    if constexpr (std::is_signed_v<T>) {
      if (value < 0) return static_cast<int64_t>(value);
    }
    return static_cast<uint64_t>(value);
  }

  template <class T>
  Json read_float(bool must_be_finite) {
    const T value = reader_.get<T>();
    if (must_be_finite && !std::isfinite(value)) fail_key("expected a finite number (got {})", value);
    return static_cast<double>(value);
  }

  Json read_boolean() {
    const auto value = reader_.get<uint8_t>();
    if (value > 1) fail_key("expected a boolean, 0 or 1 (got {})", value);
    return value == 1;
  }

  void check_alignment_type(uint32_t type) const {
    if (type != static_cast<uint32_t>(ValueType::u32)) fail_key("expected value type 4, u32 (got {})", type);
  }

  uint64_t alignment() {
    const Json* value = find_member(header_.metadata, "general.alignment");
    if (!value) return kDefaultAlignment;
    const auto alignment = value->get<uint64_t>();
    if (!std::has_single_bit(alignment) || alignment < 8 || alignment > 1 << 20) {
      fail_model("{}: key 'general.alignment': must be a power of two in 8..2^20 (got {})", printable(file_.name()),
                 alignment);
    }
    return alignment;
  }

  void read_tensor(uint64_t index) {
    reader_.enter("tensor", index);
    std::string name = reader_.get_string(kMaxTensorNameBytes);
    if (name.empty()) reader_.fail_here("empty name");
    if (!is_printable_name(name) || name.find("../") != name.npos) {
      reader_.fail_here("bad name '{}'", printable(name));
    }
    TensorInfo tensor;
    const std::vector<uint64_t> dims = read_dims(name);
    const DTypeInfo& dtype = read_dtype(name);
    tensor.dtype = dtype.type;
    tensor.shape.assign(dims.rbegin(), dims.rend());
    tensor.n_bytes = byte_size(name, dims, dtype);
    tensor.offset = reader_.get<uint64_t>();
    const auto [entry, is_new] = header_.tensors.try_emplace(std::move(name), std::move(tensor));
    if (!is_new) fail_tensor(entry->first, "duplicate name");
  }

  std::vector<uint64_t> read_dims(std::string_view name) {
    const auto n_dims = reader_.get<uint32_t>();
    if (n_dims < 1 || n_dims > kMaxDims) fail_tensor(name, "{} dimensions (expected 1..{})", n_dims, kMaxDims);
    std::vector<uint64_t> dims;
    for (uint32_t i = 0; i < n_dims; ++i) {
      const auto dim = reader_.get<uint64_t>();
      if (dim == 0 || dim > kMaxDim) fail_tensor(name, "dimension {} is {}", i, dim);
      dims.push_back(dim);
    }
    return dims;
  }

  const DTypeInfo& read_dtype(std::string_view name) {
    const auto id = reader_.get<uint32_t>();
    if (const DTypeInfo* dtype = ggml_dtype(id)) return *dtype;
    const bool was_removed = id == 4 || id == 5 || (id >= 31 && id <= 33) || (id >= 36 && id <= 38);
    if (was_removed) fail_tensor(name, "type {} was removed from GGUF", id);
    if (id == 9 || id == 15) fail_tensor(name, "type {} is for activations and not supported in files", id);
    fail_tensor(name, "type {} is unknown", id);
  }

  uint64_t byte_size(std::string_view name, const std::vector<uint64_t>& dims, const DTypeInfo& dtype) const {
    if (dims[0] % dtype.block_size != 0) {
      fail_tensor(name, "rows of {} elements are not a multiple of {}'s block of {}", dims[0], dtype.name,
                  dtype.block_size);
    }
    CheckedSize n_bytes = dims[0] / dtype.block_size;
    for (size_t i = 1; i < dims.size(); ++i) n_bytes = n_bytes * dims[i];
    n_bytes = n_bytes * dtype.block_bytes;
    if (!n_bytes.fits(file_.size())) {  // which bounds the elements too
      fail_tensor(name, "dimensions {} of {} need more bytes than the file has ({})", Json(dims).dump(), dtype.name,
                  file_.size());
    }
    return *n_bytes.get();
  }

  /// Makes offsets absolute. Files may list tensors in any order, but their bytes must follow each other with no more
  /// between them than padding.
  void place_tensors() {
    const uint64_t align = alignment();
    const uint64_t data_start = (reader_.position() + align - 1) / align * align;
    std::vector<TensorMap::value_type*> by_offset;
    for (auto& entry : header_.tensors) {
      auto& [name, tensor] = entry;
      const auto end = (CheckedSize(data_start) + tensor.offset + tensor.n_bytes).get();
      if (!end || *end > file_.size()) {
        fail_tensor(name, "bytes {}..{}, file has {}", data_start + tensor.offset,
                    end ? fmt::to_string(*end) : "2^64 or more", file_.size());
      }
      if (tensor.offset % align != 0) fail_tensor(name, "offset {} is not a multiple of {}", tensor.offset, align);
      tensor.offset += data_start;
      by_offset.push_back(&entry);
    }
    std::sort(by_offset.begin(), by_offset.end(),
              [](const auto* a, const auto* b) { return a->second.offset < b->second.offset; });
    uint64_t position = data_start;
    for (const auto* entry : by_offset) {
      const auto& [name, tensor] = *entry;
      if (tensor.offset < position)
        fail_tensor(name, "byte {} overlaps a tensor that ends at {}", tensor.offset, position);
      if (tensor.offset - position > align) {
        fail_tensor(name, "{} unused bytes before byte {}", tensor.offset - position, tensor.offset);
      }
      position = tensor.offset + tensor.n_bytes;
    }
    if (file_.size() > position && file_.size() - position > align) {
      fail_model("{}: {} bytes follow the last tensor", printable(file_.name()), file_.size() - position);
    }
  }

  template <class... Args>
  [[noreturn]] void fail_key(fmt::format_string<Args...> format, Args&&... args) const {
    fail_model("{}: key '{}': {}", printable(file_.name()), key_, fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  [[noreturn]] void fail_tensor(std::string_view name, fmt::format_string<Args...> format, Args&&... args) const {
    fail_model("{}: tensor '{}': {}", printable(file_.name()), printable(name),
               fmt::format(format, std::forward<Args>(args)...));
  }

  const File& file_;
  GgufReader reader_;
  GgufHeader header_;
  uint64_t n_tensors_ = 0, n_keys_ = 0;
  uint64_t n_elements_ = 0;  // of all arrays
  std::string key_;          // the one being read, printable
};

}  // namespace

GgufHeader read_gguf_header(const File& file) { return HeaderParser(file).parse(); }

}  // namespace packhorse
