#pragma once
// One .safetensors file: u64 header length, JSON header {name: {dtype, shape, data_offsets}}, tensor data.

#include "base/json.h"
#include "io/checkpoint.h"
#include "io/file.h"

namespace packhorse {

struct SafetensorsHeader {
  TensorMap tensors;               // TensorInfo::file is 0
  Json metadata = Json::object();  // `__metadata__`: strings
};

/// Reads and checks the header: every tensor fits its shape and dtype, and together they tile the data without overlap,
/// hole or rest. Throws Error{model, io}.
SafetensorsHeader read_safetensors_header(const File& file);

}  // namespace packhorse
