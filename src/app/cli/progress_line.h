#pragma once
// A progress bar: one line on standard error that is rewritten as work goes on.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace packhorse::cli {

struct Progress {
  std::string_view what;
  uint64_t done = 0, total = 0;
  uint64_t first_done = 0;  // how much was there already when work began
  double seconds = 0;       // since then
  bool counts_bytes = true;
};

/// "Loading weights   45% [#########           ] 41.2/91.7 MB, 350.0 MB/s, 0:01 left" in at most `width` columns;
/// without the bar, then cut, where these are too few. Speed and time left appear once there is something to measure.
std::string progress_text(const Progress& progress, size_t width);

/// Shows progress, and nothing once the work is done or the object gone.
class ProgressLine {
 public:
  ~ProgressLine() { clear(); }
  /// From now on units are things and not bytes.
  void count_things() { counts_bytes_ = false; }
  void update(std::string_view what, uint64_t done, uint64_t total);
  void clear() { show(""); }

 private:
  using Clock = std::chrono::steady_clock;
  void show(const std::string& text);

  bool counts_bytes_ = true;
  std::string what_, shown_;
  uint64_t first_done_ = 0;
  Clock::time_point begin_{}, last_shown_{};
};

}  // namespace packhorse::cli
