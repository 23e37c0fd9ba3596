#pragma once
// Parts that answers of several APIs have in common, as JSON text.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/server/api/fields.h"
#include "app/server/api/generation.h"
#include "packhorse/packhorse.h"

namespace packhorse::server {

/// Which of the details a usage object shows.
struct UsageDetails {
  bool cached_tokens = false;
  bool reasoning_tokens = false;
};
/// OpenAI's usage object; prompt_tokens_details is null where it is not shown, as vLLM's.
void append_usage(std::string& out, const Usage& usage, const UsageDetails& details);

/// When a stream tells its usage: at the end, and in each chunk.
struct StreamOptions {
  bool include_usage = false, continuous_usage = false;
};
/// stream_options of a body, over the server's own. Throws HttpError{400}, also where there is no stream.
StreamOptions read_stream_options(const ServerContext& context, const Fields& body, bool is_stream);

/// A token as log-probabilities show it: its text, or "token_id:5".
std::string shown_token(int32_t token, std::string_view text, bool as_id);

/// vLLM's stop_reason: the stop string, the token of stop_token_ids, or null.
void append_stop_reason(std::string& out, const std::optional<std::string>& text, std::optional<int64_t> token_id);

/// [1,2,3].
void append_token_ids(std::string& out, const std::vector<int32_t>& ids);

}  // namespace packhorse::server
