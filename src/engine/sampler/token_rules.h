#pragma once
// What a request says about single tokens, checked and in the form that the sampler applies.

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "packhorse/packhorse.h"
#include "text/tokenizer.h"

namespace packhorse {

struct TokenRules {
  std::vector<int32_t> allowed = {};                   // the only ids that may be chosen; empty = all
  std::vector<std::vector<int32_t>> bad_words = {};    // none empty; the last id is not chosen after the others
  std::vector<std::pair<int32_t, float>> biases = {};  // added to the logit of the id
};

/// Null when `params` (normalized) has no such rules. `tokenizer` may be null; bad words need one. Throws
/// Error{request}.
std::unique_ptr<const TokenRules> make_token_rules(const SamplingParams& params, const Tokenizer* tokenizer,
                                                   int64_t vocab_size);

}  // namespace packhorse
