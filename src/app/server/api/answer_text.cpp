#include "app/server/api/answer_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iterator>

#include "app/server/api/json_text.h"

namespace packhorse::server {

void append_usage(std::string& out, const Usage& usage, const UsageDetails& details) {
  const auto append = std::back_inserter(out);
  fmt::format_to(append, R"({{"prompt_tokens":{},"total_tokens":{},"completion_tokens":{})", usage.prompt_tokens,
                 usage.prompt_tokens + usage.completion_tokens, usage.completion_tokens);
  if (details.cached_tokens) {
    fmt::format_to(append, R"(,"prompt_tokens_details":{{"cached_tokens":{}}})", usage.cached_tokens);
  } else {
    out += R"(,"prompt_tokens_details":null)";
  }
  if (details.reasoning_tokens) {
    fmt::format_to(append, R"(,"completion_tokens_details":{{"reasoning_tokens":{}}})", usage.reasoning_tokens);
  }
  out += '}';
}

StreamOptions read_stream_options(const ServerContext& context, const Fields& body, bool is_stream) {
  StreamOptions out{.include_usage = context.options.enable_force_include_usage};
  const Json* options = body.object("stream_options");
  if (!options) return out;
  if (!is_stream && !options->empty()) body.fail("stream_options", "is only possible when stream is true");
  const Fields fields(*options, body.path("stream_options."));
  out.include_usage |= fields.flag("include_usage").value_or(false);
  // As in vLLM, of no effect alone.
  out.continuous_usage = fields.flag("continuous_usage_stats").value_or(false) && out.include_usage;
  return out;
}

std::string shown_token(int32_t token, std::string_view text, bool as_id) {
  return as_id ? fmt::format("token_id:{}", token) : std::string(text);
}

void append_stop_reason(std::string& out, const std::optional<std::string>& text, std::optional<int64_t> token_id) {
  if (text) {
    append_json_string(out, *text);
  } else if (token_id) {
    fmt::format_to(std::back_inserter(out), "{}", *token_id);
  } else {
    out += "null";
  }
}

void append_token_ids(std::string& out, const std::vector<int32_t>& ids) {
  fmt::format_to(std::back_inserter(out), "[{}]", fmt::join(ids, ","));
}

}  // namespace packhorse::server
