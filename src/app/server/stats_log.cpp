#include "app/server/stats_log.h"

#include <fmt/format.h>

#include <utility>

namespace packhorse::server {

std::string StatsLog::line(const EngineStats& now, double seconds) {
  const EngineStats before = std::exchange(last_, now);
  const bool is_busy = now.n_running > 0 || now.n_waiting > 0 || now.n_steps != before.n_steps;
  if (!std::exchange(was_busy_, is_busy) && !is_busy) return "";
  const auto percent = [](int64_t part, int64_t whole) {
    return whole > 0 ? 100 * static_cast<double>(part) / static_cast<double>(whole) : 0;
  };
  const auto rate = [seconds](int64_t tokens) { return seconds > 0 ? static_cast<double>(tokens) / seconds : 0; };
  return fmt::format(
      "Avg prompt throughput: {:.1f} tokens/s, Avg generation throughput: {:.1f} tokens/s, Running: {} reqs, Waiting: "
      "{} reqs, KV cache usage: {:.1f}%, Prefix cache hit rate: {:.1f}%",
      rate(now.n_prompt_tokens - before.n_prompt_tokens), rate(now.n_generated_tokens - before.n_generated_tokens),
      now.n_running, now.n_waiting, percent(now.n_blocks - now.n_free_blocks, now.n_blocks),
      percent(now.n_cached_tokens, now.n_prompt_tokens));
}

}  // namespace packhorse::server
