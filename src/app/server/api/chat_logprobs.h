#pragma once
// Log-probabilities of a chat's tokens.

#include <cstdint>
#include <string>
#include <vector>

#include "packhorse/packhorse.h"

namespace packhorse::server {

/// Appends the elements of "content", with commas between them: one for each of `token_ids`, which `logprobs` is for.
/// `top` alternatives are shown, -1 = all; `as_ids` writes tokens as "token_id:N".
void append_chat_logprobs(std::string& out, const std::vector<int32_t>& token_ids,
                          const std::vector<TokenLogprobs>& logprobs, int64_t top, bool as_ids);

}  // namespace packhorse::server
