#pragma once
// What was seen during a run. Times are seconds since its beginning.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace packhorse::load {

/// A request that was answered in full.
struct Answer {
  double sent = 0, first_text = 0, last_text = 0, end = 0;
  int64_t prompt_tokens = 0, output_tokens = 0;

  double ttft() const { return first_text - sent; }
  double tpot() const {
    return (last_text - first_text) / static_cast<double>(std::max<int64_t>(output_tokens - 1, 1));
  }
};

/// Between two texts of one stream.
struct Gap {
  double begin = 0, end = 0;
  double length() const { return end - begin; }
};

/// State of the run at one moment.
struct Sample {
  double time = 0;
  int64_t n_connected = 0, n_waiting = 0, n_streaming = 0, n_texts = 0;  // texts: since the sample before
  int64_t server_rss = 0;
};

struct Results {
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  std::vector<Answer> answers;
  std::vector<Gap> gaps;  // of all answers but the probe's
  std::optional<Answer> probe;
  double probe_sent = -1;
  std::map<std::string, int64_t> errors;
  int64_t n_refused = 0, n_comments = 0;  // refused: 503 with Retry-After; they were asked again
  int64_t n_connected = 0, n_waiting = 0, n_streaming = 0, n_texts = 0;
  int64_t peak_connected = 0, peak_waiting = 0, peak_streaming = 0;
  std::vector<Sample> timeline;
  double duration = 0;

  double now() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); }
  int64_t num_errors() const {
    int64_t n = 0;
    for (const auto& [kind, count] : errors) n += count;
    return n;
  }
};

}  // namespace packhorse::load
