#pragma once
// From what a user calls a model to a path: folder, .gguf file, repo id of the hub, or "demo".

#include <string>

#include "packhorse/packhorse.h"

namespace packhorse {

/// Path of a model directory or .gguf file. `name` is what the user gave (a model or a tokenizer); `options` gives
/// revision and download_dir. "demo" is fetched when it is not cached yet; a repo id is looked up in the hub cache.
/// Throws Error{model} for what does not exist, Error{io} for a failed download.
std::string resolve_model(const std::string& name, const EngineOptions& options);

}  // namespace packhorse
