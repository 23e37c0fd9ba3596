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

std::vector<const Json*> read_prompt_list(const ServerContext& context, const Fields& body, std::string_view field) {
  const Json* given = body.find(field);
  if (!given) body.fail(field, "is missing");
  if (given->is_string()) return {given};
  if (!given->is_array()) body.fail(field, "must be a text, token ids, or a list of either");
  if (given->empty()) body.fail(field, "must not be empty");
  if (given->front().is_number()) return {given};
  const auto n_prompts = static_cast<int64_t>(given->size());
  if (n_prompts > context.options.max_prompts) {
    body.fail(field, fmt::format("at most {} in one request (got {})", context.options.max_prompts, n_prompts));
  }
  std::vector<const Json*> prompts;
  for (const Json& entry : *given) prompts.push_back(&entry);
  return prompts;
}

std::vector<int64_t> read_token_ids(const ServerContext& context, const Fields& body, const Json& list,
                                    std::string_view field) {
  const int64_t n_ids = context.engine.engine().vocab_size();
  std::vector<int64_t> ids = body.whole_numbers_of(list, field);
  const auto wrong = std::ranges::find_if(ids, [&](int64_t id) { return id < 0 || id >= n_ids; });
  if (wrong != ids.end()) {
    body.fail(field, fmt::format("token id {} is out of vocabulary (limit {})", *wrong, n_ids - 1));
  }
  return ids;
}

std::optional<int64_t> read_truncation(const ServerContext& context, const Fields& body) {
  const auto given = body.whole_number("truncate_prompt_tokens");
  const std::string side = body.text("truncation_side").value_or("left");
  if (side != "left") {
    body.fail("truncation_side", fmt::format("must be 'left': the end is kept (got '{}')", printable(side, 40)));
  }
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

std::optional<int64_t> answer_limit(const ServerContext& context, std::optional<int64_t> asked) {
  const std::optional<int64_t> most = context.engine.engine().max_new_tokens();
  return asked && most ? std::min(asked, most) : asked ? asked : most;
}

}  // namespace packhorse::server
