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

/// JSON text of such a file.
std::string read_json_text(const std::string& path);

/// Fills in the checkpoint's own quantization settings: from `view.config` (top level, then `text_config`), else from a
/// side file of `directory`; none leaves null. `quant_method` is in canonical spelling.
void find_quantization_config(const std::string& directory, CheckpointView& view);

}  // namespace packhorse
