#pragma once
// A model directory: Hugging Face's layout (config.json and safetensors), or a folder around one GGUF model.

#include <string>

#include "base/json.h"
#include "io/checkpoint.h"

namespace packhorse {

/// Fills `view` from the directory `path`. Throws Error{model, io}.
void open_hf_directory(const std::string& path, CheckpointView& view);

/// JSON file of at most 64 MB that holds an object, such as config.json or tokenizer_config.json.
Json read_json_object(const std::string& path);

/// The checkpoint's own quantization settings: from `config` (top level, then `text_config`), else from a side file of
/// `directory`; null when there are none. `quant_method` is in canonical spelling.
Json find_quantization_config(const Json& config, const std::string& directory);

}  // namespace packhorse
