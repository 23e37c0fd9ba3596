#include "app/server/api/prompt_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "app/server/api/errors.h"

namespace packhorse::server {
namespace {

[[noreturn]] void fail_context(int64_t context, const std::string& problem, std::string_view field) {
  throw HttpError(400,
                  fmt::format("{}: this model's maximum context length is {} tokens, but {}", field, context, problem),
                  std::string(field));
}

/// Words are seldom longer than 16 bytes: when that many bytes per token of the context are more tokens than it holds,
/// the rest need not be looked at.
void require_plausible_length(const ServerContext& context, std::string_view text, std::string_view field) {
  const Engine& engine = context.engine.engine();
  constexpr size_t kBytesPerToken = 16;
  size_t n_bytes = static_cast<size_t>(engine.max_model_len()) * kBytesPerToken;
  if (text.size() <= n_bytes) return;
  while (n_bytes > 0 && (text[n_bytes] & 0xc0) == 0x80) --n_bytes;  // between two characters
  const auto n_tokens = static_cast<int64_t>(engine.tokenize(text.substr(0, n_bytes), false).size());
  constexpr int64_t kTorn = 16;  // tokens that the cut may have added
  if (n_tokens - kTorn > engine.max_model_len()) {
    fail_context(
        engine.max_model_len(),
        fmt::format("the prompt has {} bytes, and the first {} alone are {} tokens", text.size(), n_bytes, n_tokens),
        field);
  }
}

}  // namespace

std::optional<int64_t> read_truncation(const ServerContext& context, const Fields& body) {
  const auto given = body.whole_number("truncate_prompt_tokens");
  if (!given) return std::nullopt;
  const int64_t longest = context.engine.engine().max_model_len() - 1;  // one is for the answer
  if (*given == -1) return longest;
  if (*given < 1 || *given > longest) {
    body.fail("truncate_prompt_tokens", fmt::format("must be -1 or in [1, {}] (got {})", longest, *given));
  }
  return given;
}

Prompt tokenized_prompt(const ServerContext& context, std::string_view text, bool add_special_tokens,
                        std::optional<int64_t> truncation, std::string_view field) {
  if (!truncation) require_plausible_length(context, text, field);
  const std::vector<int32_t> tokens = context.engine.engine().tokenize(text, add_special_tokens);
  Prompt prompt;
  prompt.token_ids.emplace(tokens.begin(), tokens.end());
  truncate(*prompt.token_ids, truncation);
  return prompt;
}

void require_context(const ServerContext& context, int64_t n_prompt_tokens, std::optional<int64_t> max_tokens,
                     std::string_view field, std::string_view max_tokens_field) {
  const int64_t limit = context.engine.engine().max_model_len();
  if (n_prompt_tokens >= limit) {
    fail_context(limit, fmt::format("the prompt has {} and its answer needs at least 1", n_prompt_tokens), field);
  }
  if (max_tokens && *max_tokens > limit - n_prompt_tokens) {
    fail_context(limit,
                 fmt::format("{} were requested ({} in the prompt, {} in the answer)",
                             static_cast<uint64_t>(n_prompt_tokens) + static_cast<uint64_t>(*max_tokens),
                             n_prompt_tokens, *max_tokens),
                 max_tokens_field);
  }
}

}  // namespace packhorse::server
