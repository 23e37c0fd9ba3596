#pragma once
// GGUF version 2 and 3, little endian: metadata, tensor table, split sets. Names and keys keep their GGUF form.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "io/checkpoint.h"
#include "io/file.h"

namespace packhorse {

struct GgufHeader {
  Json metadata = Json::object();
  TensorMap tensors;  // TensorInfo::file is 0; shape is the reverse of the file's dims
};

/// Reads and checks everything in front of the tensor data, which the tensors must tile up to padding.
/// Throws Error{model, io}.
GgufHeader read_gguf_header(const File& file);

/// Opens one model file, or the whole split set when `path` is its first part.
void open_gguf(const std::string& path, CheckpointView& view);

/// "base-00002-of-00005.gguf"
struct GgufSplitName {
  std::string base;  // with the directory
  uint64_t part = 1, count = 1;
};
/// Base = the name without ".gguf", part and count 1, when `path` does not have the form of a part.
GgufSplitName parse_gguf_split_name(std::string_view path);
std::string format_gguf_split_name(const GgufSplitName& name);

}  // namespace packhorse
