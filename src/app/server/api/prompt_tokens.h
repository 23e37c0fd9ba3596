#pragma once
// Prompts as tokens, before they reach the engine: errors about length come early and name what was asked for.

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "app/server/api/fields.h"
#include "app/server/context.h"

namespace packhorse::server {

/// A field that is a text, token ids, or a list of either: each prompt of it, at most ApiOptions::max_prompts.
std::vector<const Json*> read_prompt_list(const ServerContext& context, const Fields& body, std::string_view field);

/// The ids of a JSON list of token ids, all in the vocabulary. Throws HttpError{400} about `field`.
std::vector<int64_t> read_token_ids(const ServerContext& context, const Fields& body, const Json& list,
                                    std::string_view field);

/// truncate_prompt_tokens: how many tokens at the end of a prompt to keep; -1 in the body means the longest that fits.
std::optional<int64_t> read_truncation(const ServerContext& context, const Fields& body);

/// Prompt of the text's tokens; the text itself is left out, or the engine would copy it into outputs. Throws
/// HttpError{400} about `field` for a text that is far beyond the context, before it tokenizes all of it.
Prompt tokenized_prompt(const ServerContext& context, std::string_view text, bool add_special_tokens,
                        std::optional<int64_t> truncation, std::string_view field);

/// Throws HttpError{400} when a prompt of so many tokens leaves no room for `max_tokens` more, or for one more.
/// `field` is the prompt's name, `max_tokens_field` the other one's.
void require_context(const ServerContext& context, int64_t n_prompt_tokens, std::optional<int64_t> max_tokens,
                     std::string_view field, std::string_view max_tokens_field);

/// `asked` tokens of an answer, or what the generation config allows when that is less; nothing: up to the context.
std::optional<int64_t> answer_limit(const ServerContext& context, std::optional<int64_t> asked);

/// Keeps the last `truncation` tokens.
template <class Id>
void truncate(std::vector<Id>& tokens, std::optional<int64_t> truncation) {
  const auto n_tokens = static_cast<int64_t>(tokens.size());
  if (truncation && n_tokens > *truncation) tokens.erase(tokens.begin(), tokens.end() - *truncation);
}

}  // namespace packhorse::server
