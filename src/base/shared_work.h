#pragma once
// Work that is done once, in parts, by the threads that need its result.

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>

namespace packhorse {

class SharedWork {
 public:
  explicit SharedWork(int64_t n_parts) : n_parts_(n_parts) {}

  /// Does parts, part(i), as long as some are left, and returns when all are done. After the last one `finish` runs,
  /// unless a part threw. Every caller gets the first exception of them.
  template <class Part, class Finish>
  void run(Part&& part, Finish&& finish) {
    for (int64_t i; !done_ && (i = next_.fetch_add(1)) < n_parts_;) {
      attempt([&] { part(i); });
      if (n_done_.fetch_add(1) + 1 < n_parts_) continue;
      if (!error_) attempt(finish);
      done_ = true;
      done_.notify_all();
    }
    done_.wait(false);
    if (error_) std::rethrow_exception(error_);
  }

 private:
  template <class F>
  void attempt(F&& work) {
    try {
      work();
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }

  const int64_t n_parts_;
  std::atomic<int64_t> next_{0}, n_done_{0};
  std::atomic<bool> done_{false};
  std::mutex mutex_;  // of error_
  std::exception_ptr error_;
};

}  // namespace packhorse
