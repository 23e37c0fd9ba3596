#pragma once
// The prompts of one HTTP request in the engine: added together, aborted together when the client leaves.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "app/server/context.h"
#include "app/server/http/http.h"

namespace packhorse::server {

/// Token counts of an answer.
struct Usage {
  int64_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0, reasoning_tokens = 0;
};

struct GenerationJob {
  Prompt prompt;
  SamplingParams params;                   // output_kind delta for streams, final_only else
  std::optional<PoolingParams> pooling{};  // the prompt's embedding is wanted, and `params` is of no use
};

struct GenerationEvents {
  /// All prompts are accepted: the moment for Reply::start_stream. On the caller's thread, before all other events; may
  /// be empty.
  std::function<void()> on_start;
  /// News of prompt `index`. Called on the engine's thread (what came before the last prompt was added, on the
  /// caller's), one call at a time; must be quick. An exception ends the generation and goes to on_error.
  std::function<void(size_t index, RequestOutput&& output)> on_output;
  /// After the last output of the last prompt, unless the client has gone.
  std::function<void(const Usage& usage)> on_end;
  /// Instead of on_end: an answer failed (finish_reason "error") or an event handler threw; what was added is aborted.
  std::function<void(const std::exception_ptr& error)> on_error;
};

/// Throws HttpError{503} with Retry-After when the queue is full: to be called before prompts are tokenized.
void require_room(ServerContext& context, int64_t n_prompts);

/// Adds the prompts; throws Error{request} when one is refused, and then none runs. Keeps itself alive until the end,
/// counts into context.n_prompts and into the metrics, and aborts everything when `reply`'s client goes.
void start_generation(ServerContext& context, const HttpRequestPtr& request, const ReplyPtr& reply,
                      std::vector<GenerationJob> jobs, GenerationEvents events);

}  // namespace packhorse::server
