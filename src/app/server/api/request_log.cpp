#include "app/server/api/request_log.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/server/log_writer.h"

namespace packhorse::server {
namespace {

/// The first `n_characters` of UTF-8, without control bytes; -1 means all.
std::string shown(std::string_view text, int64_t n_characters) {
  size_t end = text.size();
  if (n_characters >= 0) {
    int64_t n = 0;
    const auto past =
        std::find_if(text.begin(), text.end(), [&](char c) { return (c & 0xc0) != 0x80 && ++n > n_characters; });
    end = static_cast<size_t>(past - text.begin());
  }
  return printable(text.substr(0, end), std::max<size_t>(end, 1)) + (end < text.size() ? "..." : "");
}

std::string shown(const SamplingParams& p) {
  const std::string max_tokens = p.max_tokens ? fmt::format("{}", *p.max_tokens) : "none";
  std::string out = fmt::format(
      "n={} max_tokens={} min_tokens={} temperature={} top_p={} top_k={} min_p={} presence_penalty={} "
      "frequency_penalty={} repetition_penalty={}",
      p.n, max_tokens, p.min_tokens, p.temperature, p.top_p, p.top_k, p.min_p, p.presence_penalty, p.frequency_penalty,
      p.repetition_penalty);
  if (p.seed) out += fmt::format(" seed={}", *p.seed);
  for (const std::string& stop : p.stop) out += fmt::format(" stop='{}'", printable(stop));
  if (p.logprobs) out += fmt::format(" logprobs={}", *p.logprobs);
  if (p.structured_outputs) out += " structured_outputs";
  return out;
}

}  // namespace

void log_request(const ServerContext& context, std::string_view request_id, const std::vector<GenerationJob>& jobs) {
  for (const GenerationJob& job : jobs) {
    std::string text = job.prompt.text.value_or("");
    const size_t n_tokens = job.prompt.token_ids ? job.prompt.token_ids->size() : 0;
    if (!job.prompt.text && job.prompt.token_ids) {
      text = context.engine.engine().detokenize({job.prompt.token_ids->begin(), job.prompt.token_ids->end()}, false);
    }
    context.log->write(fmt::format("{} request {}: prompt '{}' ({} tokens), {}", log_time(), printable(request_id),
                                   shown(text, context.options.max_log_len), n_tokens, shown(job.params)));
  }
}

}  // namespace packhorse::server
