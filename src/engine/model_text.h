#pragma once
// What of a model is about text: its tokenizer, chat template and generation defaults.

#include <optional>
#include <string>
#include <vector>

#include "io/checkpoint.h"
#include "packhorse/packhorse.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace packhorse {

/// From `path` (a directory or .gguf file other than the model's), else from the checkpoint itself. Throws Error{model,
/// io}.
Tokenizer load_tokenizer(const CheckpointView& view, const std::string& path);

/// Source of the chat template: `option` (Jinja text, or the path of a file), else the checkpoint's; empty when there
/// is none.
std::string find_chat_template(const CheckpointView& view, const std::string& option);

/// The object of `text`, empty for an empty one. Throws Error{usage} for anything but a JSON object of sampling
/// defaults in their ranges.
Json parse_generation_overrides(const std::string& text);

/// generation_config.json of the checkpoint with override_generation_config over it. `options.generation_config` "vllm"
/// is for an empty file, another value than "auto" a directory to take it from.
Json load_generation_config(const CheckpointView& view, const EngineOptions& options);

/// SamplingParams() with the model's defaults.
SamplingParams default_sampling_params(const Json& generation_config);
/// The most tokens of an answer; nothing where it does not say.
std::optional<int64_t> max_new_tokens(const Json& generation_config);

/// Ids that end a generation: the tokenizer's, then those of generation_config.json and config.json. Ids outside the
/// vocabulary are Error{model}.
std::vector<int32_t> eos_token_ids(const CheckpointView& view, const Json& generation_config,
                                   const Tokenizer* tokenizer, int64_t vocab_size);

}  // namespace packhorse
