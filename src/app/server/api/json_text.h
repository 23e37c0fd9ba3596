#pragma once
// JSON written directly as text: an event per token has no time for a document tree.

#include <string>
#include <string_view>

namespace packhorse::server {

/// Appends `text`, which has to be valid UTF-8, as a JSON string with its quotes.
void append_json_string(std::string& out, std::string_view text);
std::string json_string(std::string_view text);
/// Same for text of unknown origin: invalid UTF-8 becomes U+FFFD.
std::string safe_json_string(std::string_view text);

/// Appends a log-probability as vLLM shows it: never below -9999.
void append_logprob(std::string& out, float logprob);

/// One server-sent event; the JSON has no line breaks.
std::string sse_event(std::string_view json);
/// The event that ends OpenAI's streams.
inline constexpr std::string_view kSseDone = "data: [DONE]\n\n";

}  // namespace packhorse::server
