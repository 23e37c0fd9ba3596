#pragma once
// Parts that answers of several APIs have in common, as JSON text.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "app/server/api/generation.h"
#include "packhorse/packhorse.h"

namespace packhorse::server {

/// Which of the details a usage object shows.
struct UsageDetails {
  bool cached_tokens = false;
  bool reasoning_tokens = false;
};
/// OpenAI's usage object.
void append_usage(std::string& out, const Usage& usage, const UsageDetails& details);

/// vLLM's stop_reason: the stop string, the token of stop_token_ids, or null.
void append_stop_reason(std::string& out, const std::optional<std::string>& text, std::optional<int64_t> token_id);

/// [1,2,3].
void append_token_ids(std::string& out, const std::vector<int32_t>& ids);

}  // namespace packhorse::server
