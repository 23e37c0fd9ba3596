#pragma once
// What a checkpoint holds, whatever its container: tensors by name with their place in a file, and metadata.

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/json_order.h"
#include "io/dtype.h"
#include "io/file.h"

namespace packhorse {

/// One tensor of a file. Its byte range was checked against the file, and its size against shape and dtype.
struct TensorInfo {
  DType dtype = DType::f32;
  std::vector<uint64_t> shape;  // outermost first: a weight is [N, K]
  uint32_t file = 0;            // index into CheckpointView::files
  uint64_t offset = 0;          // absolute, bytes
  uint64_t n_bytes = 0;
  uint64_t n_elements() const;  // 1 for a scalar
};

using TensorMap = std::map<std::string, TensorInfo, std::less<>>;

/// Read-only map of a checkpoint. Immutable after loading, safe to share among threads.
struct CheckpointView {
  std::string path;  // as the user gave it
  std::vector<File> files;
  std::vector<Json> file_metadata;  // of each file: `__metadata__` of safetensors, an object of strings; else empty
  TensorMap tensors;
  Json config = Json::object();    // config.json of a directory; empty for GGUF
  Json quantization_config;        // the checkpoint's own, by formats/detection rules; null when it has none
  MemberOrder quantization_order;  // of the objects in it, for rules of which the first that fits counts
  Json gguf;                       // object of GGUF metadata; null for a directory. Strings may hold any bytes
  std::vector<std::string> notes;  // what was ignored or is odd but legal, one line each, for the log

  const TensorInfo* find(std::string_view name) const;
  /// Error{model} "missing tensor" when absent.
  const TensorInfo& at(std::string_view name) const;
  /// Reads `out.size()` bytes from `offset` within the tensor.
  void read(const TensorInfo& tensor, uint64_t offset, std::span<std::byte> out) const;
  /// Whole tensor as raw little-endian bytes.
  std::vector<std::byte> read_all(const TensorInfo& tensor) const;
  /// "model.safetensors: tensor 'name'" for messages.
  std::string describe(std::string_view name) const;
  /// Error{io} when a file is no longer what was opened. To be called once the last weight was read.
  void check_unchanged() const;
  bool is_gguf() const { return gguf.is_object(); }
};

/// Opens a model directory or a .gguf file (the first of a split set names them all) and checks every header.
/// Rules: vLLM's and llama.cpp's; `model.safetensors.index.json` when present, else model.safetensors, else every
/// *.safetensors of the folder; pickle files are never opened. Throws Error{model, io}.
CheckpointView open_checkpoint(const std::string& path);

}  // namespace packhorse
