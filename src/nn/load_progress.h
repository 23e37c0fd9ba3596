#pragma once
// How far loading is, in bytes of the checkpoint.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>

namespace packhorse {

/// Adds up what all threads read; reports from the thread that made it, at most once in kInterval.
class LoadProgress {
 public:
  using Report = std::function<void(uint64_t done, uint64_t total)>;
  static constexpr std::chrono::milliseconds kInterval{50};

  /// `report` may be empty; what it throws comes out of add().
  LoadProgress(Report report, uint64_t total) : report_(std::move(report)), total_(total) {}

  /// From any thread.
  void add(uint64_t n_bytes) {
    const uint64_t done = n_done_.fetch_add(n_bytes) + n_bytes;
    if (!report_ || std::this_thread::get_id() != owner_) return;
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return;
    next_ = now + kInterval;
    report_(std::min(done, total_), total_);
  }

  /// Reports the end: tensors that nobody asked for, or that are too small to count, are done too.
  void finish() const {
    if (report_) report_(total_, total_);
  }

 private:
  Report report_;
  uint64_t total_;
  std::atomic<uint64_t> n_done_{0};
  std::thread::id owner_ = std::this_thread::get_id();
  std::chrono::steady_clock::time_point next_{};  // of the owner alone
};

}  // namespace packhorse
