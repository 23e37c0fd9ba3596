#pragma once
// Scoring of a model: perplexity and divergence on a text, and closeness to reference logits.

#include "engine/loaded_model.h"
#include "text/tokenizer.h"

namespace packhorse {

/// See TextScoreOptions. `against` must have the same vocabulary; KL is KL(against || loaded). Throws Error{usage,
/// model}.
TextScore score_text(LoadedModel& loaded, const Tokenizer& tokenizer, const TextScoreOptions& options,
                     LoadedModel* against);

/// Compares with a safetensors file of `tokens` int32 [B, T], float32 logits [B, T, V] and `rows.<module>` float32 [R,
/// K].
ReferenceScore score_reference(LoadedModel& loaded, const ReferenceOptions& options);

}  // namespace packhorse
