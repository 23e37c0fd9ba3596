#pragma once
// What --enable-log-requests adds to the log: prompts, and how they are to be answered.

#include <string_view>
#include <vector>

#include "app/server/api/generation.h"
#include "app/server/context.h"

namespace packhorse::server {

/// A line for each prompt.
void log_request(const ServerContext& context, std::string_view request_id, const std::vector<GenerationJob>& jobs);

}  // namespace packhorse::server
