#include "io/safetensors.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/checked_size.h"
#include "base/error.h"

namespace packhorse {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr size_t kMaxDims = 64;

std::string read_header_text(const File& file) {
  constexpr uint64_t kPrefixBytes = sizeof(uint64_t);
  const std::string name = printable(file.name());
  if (file.size() < kPrefixBytes) fail_model("{}: header length needs 8 bytes, file has {}", name, file.size());
  uint64_t n = 0;
  file.read(0, std::as_writable_bytes(std::span(&n, 1)));
  if (n < 2 || n > file.size() - kPrefixBytes) {
    fail_model("{}: header length {}, file has {} bytes", name, n, file.size());
  }
  if (n > kMaxHeaderBytes) {
    fail_model("{}: header length {}, file has {} bytes (limit {})", name, n, file.size(), kMaxHeaderBytes);
  }
  std::string text(n, '\0');
  file.read(kPrefixBytes, std::as_writable_bytes(std::span(text)));
  if (text[0] != '{')
    fail_model("{}: header: byte 0: expected '{{' (got {:#04x})", name, static_cast<uint8_t>(text[0]));
  return text;
}

/// One entry of the header; `where` names file and tensor.
class EntryReader {
 public:
  EntryReader(const Json& entry, std::string where) : entry_(entry), where_(std::move(where)) {}

  /// Dtype, shape, and [begin, end) relative to the data in offset and n_bytes.
  TensorInfo read() const {
    if (!entry_.is_object()) fail_model("{}: expected an object (got {})", where_, preview(entry_));
    TensorInfo tensor;
    const DTypeInfo& dtype = read_dtype();
    tensor.dtype = dtype.type;
    tensor.shape = read_shape();
    const uint64_t n_needed = byte_size(dtype, tensor.shape);
    const auto [begin, end] = read_offsets();
    if (end - begin != n_needed) {
      fail_model("{}: data_offsets span {} bytes, shape {} of {} needs {}", where_, end - begin,
                 preview_shape(tensor.shape), dtype.name, n_needed);
    }
    tensor.offset = begin;
    tensor.n_bytes = n_needed;
    return tensor;
  }

 private:
  const Json& member(std::string_view key) const {
    if (const Json* value = find_member(entry_, key)) return *value;
    fail_model("{}: {} is missing", where_, key);
  }
  const Json& array(std::string_view key) const {
    const Json& value = member(key);
    if (!value.is_array()) fail_model("{}: {}: expected an array (got {})", where_, key, preview(value));
    return value;
  }

  const DTypeInfo& read_dtype() const {
    const Json& value = member("dtype");
    const DTypeInfo* dtype = value.is_string() ? safetensors_dtype(value.get_ref<const std::string&>()) : nullptr;
    if (!dtype) fail_model("{}: dtype {} is unknown", where_, preview(value));
    return *dtype;
  }

  std::vector<uint64_t> read_shape() const {
    const Json& dims = array("shape");
    if (dims.size() > kMaxDims) {
      fail_model("{}: shape has too many dimensions (got {}, limit {})", where_, dims.size(), kMaxDims);
    }
    std::vector<uint64_t> shape;
    for (const Json& dim : dims) {
      shape.push_back(require_unsigned(dim, fmt::format("{}: shape[{}]", where_, shape.size())));
    }
    return shape;
  }

  std::pair<uint64_t, uint64_t> read_offsets() const {
    const Json& offsets = array("data_offsets");
    if (offsets.size() != 2) fail_model("{}: data_offsets has {} entries, expected 2", where_, offsets.size());
    const uint64_t begin = require_unsigned(offsets[0], fmt::format("{}: data_offsets[0]", where_));
    const uint64_t end = require_unsigned(offsets[1], fmt::format("{}: data_offsets[1]", where_));
    if (begin > end) fail_model("{}: data_offsets are reversed ({}, {})", where_, begin, end);
    return {begin, end};
  }

  uint64_t byte_size(const DTypeInfo& dtype, const std::vector<uint64_t>& shape) const {
    CheckedSize n_elements = 1;
    for (const uint64_t dim : shape) n_elements = n_elements * dim;
    const auto n = n_elements.get();
    const auto n_bytes = (CheckedSize(n.value_or(0) / dtype.block_size) * dtype.block_bytes).get();
    if (!n || !n_bytes) fail_model("{}: shape {} has too many elements", where_, preview_shape(shape));
    if (*n % dtype.block_size != 0) {
      fail_model("{}: shape {} of {} does not fill whole bytes", where_, preview_shape(shape), dtype.name);
    }
    return *n_bytes;
  }

  static std::string preview_shape(const std::vector<uint64_t>& shape) { return printable(Json(shape).dump()); }

  const Json& entry_;
  std::string where_;
};

void check_metadata(const Json& metadata, std::string_view file_name) {
  const bool strings_only = metadata.is_object() && std::all_of(metadata.begin(), metadata.end(),
                                                                [](const Json& value) { return value.is_string(); });
  if (!strings_only) fail_model("{}: __metadata__: expected an object of strings", file_name);
}

/// The tensors must follow each other from 0 to the end of the data.
void check_tiling(const TensorMap& tensors, uint64_t n_data_bytes, std::string_view file_name) {
  std::vector<const TensorMap::value_type*> by_offset;
  for (const auto& tensor : tensors) by_offset.push_back(&tensor);
  std::sort(by_offset.begin(), by_offset.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.offset, a->second.n_bytes) < std::pair(b->second.offset, b->second.n_bytes);
  });
  uint64_t position = 0;
  for (const auto* entry : by_offset) {
    const auto& [name, tensor] = *entry;
    const uint64_t end = tensor.offset + tensor.n_bytes;
    if (end > n_data_bytes) {
      fail_model("{}: tensor '{}': data_offsets {}..{}, file has {} bytes of data", file_name, printable(name),
                 tensor.offset, end, n_data_bytes);
    }
    if (tensor.offset != position) {
      fail_model("{}: tensor '{}': data_offsets {}..{} {} (expected begin {})", file_name, printable(name),
                 tensor.offset, end, tensor.offset < position ? "overlap another tensor" : "leave a hole", position);
    }
    position = end;
  }
  if (position != n_data_bytes) {
    fail_model("{}: {} bytes follow the last tensor", file_name, n_data_bytes - position);
  }
}

}  // namespace

SafetensorsHeader read_safetensors_header(const File& file) {
  const std::string text = read_header_text(file);
  const std::string file_name = printable(file.name());
  const Json json = parse_json(text, fmt::format("{}: header", file.name()));
  const uint64_t data_start = sizeof(uint64_t) + text.size();
  SafetensorsHeader header;
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") {
      check_metadata(entry, file_name);
      header.metadata = entry;
    } else {
      const EntryReader reader(entry, fmt::format("{}: tensor '{}'", file_name, printable(name)));
      header.tensors.emplace_hint(header.tensors.end(), name, reader.read());
    }
  }
  check_tiling(header.tensors, file.size() - data_start, file_name);
  for (auto& [name, tensor] : header.tensors) tensor.offset += data_start;
  return header;
}

}  // namespace packhorse
