#pragma once
// From what a user calls a model to a path: folder, .gguf file, repo id of the hub, or "demo".

#include <string>

#include "packhorse/packhorse.h"

namespace packhorse {

/// Path of a model directory or .gguf file. `name` is what the user gave; `options` gives revision, download_dir and
/// hf_token. The demo and repo ids are fetched when they are not cached yet. Throws Error{model} for what does not
/// exist, Error{io} for a failed download.
std::string resolve_model(const std::string& name, const EngineOptions& options);

/// The same for the words of a model: its tokenizer and templates without the weights, where they are files of their
/// own.
std::string resolve_text(const std::string& name, const EngineOptions& options);

/// The same for a tokenizer that is not the model's: of a repo without the weights, and its main revision.
std::string resolve_tokenizer(const std::string& name, const EngineOptions& options);

}  // namespace packhorse
