#pragma once
// The safetensors files of a model directory.

#include <string>
#include <string_view>
#include <vector>

#include "io/checkpoint.h"

namespace packhorse {

inline constexpr std::string_view kIndexName = "model.safetensors.index.json";

/// Loads the shards that the index of `directory` names.
void load_indexed_shards(const std::string& directory, CheckpointView& view);

/// Loads `file_names`, all *.safetensors files of `directory`, or model.safetensors alone when it is there; there is no
/// index.
void load_all_safetensors(const std::string& directory, const std::vector<std::string>& file_names,
                          CheckpointView& view);

}  // namespace packhorse
