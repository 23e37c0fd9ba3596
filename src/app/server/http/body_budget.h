#pragma once
// How much memory the bodies of all requests together may take, and those of all answers.

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace packhorse::server {

/// Counts bytes that have come, not those that were announced: who announces a body and sends none of it keeps nobody
/// else out. Small bodies do not count: there are no more of them than connections, and they get through whatever the
/// large ones do. From any thread.
class BodyBudget {
 public:
  static constexpr uint64_t kSmall = 64 << 10;

  explicit BodyBudget(int64_t max_bytes) : max_bytes_(max_bytes) {}

  bool has_room(uint64_t n_bytes) const {
    return n_bytes <= kSmall || n_bytes + static_cast<uint64_t>(n_bytes_) <= static_cast<uint64_t>(max_bytes_);
  }
  int64_t n_bytes() const { return n_bytes_; }

 private:
  friend class BodyShare;
  const int64_t max_bytes_;
  std::atomic<int64_t> n_bytes_{0};
};

/// One body's part of it.
class BodyShare {
 public:
  explicit BodyShare(std::shared_ptr<BodyBudget> budget) : budget_(std::move(budget)) {}
  ~BodyShare() { give_back(); }
  BodyShare(const BodyShare&) = delete;
  BodyShare& operator=(const BodyShare&) = delete;

  /// The body has so many bytes by now. False when there is no room for them.
  bool grow_to(size_t n_bytes) {
    const int64_t counted = n_bytes > BodyBudget::kSmall ? static_cast<int64_t>(n_bytes) : 0;
    const int64_t n_more = counted - std::exchange(n_counted_, counted);
    return (budget_->n_bytes_ += n_more) <= budget_->max_bytes_ || n_more == 0;
  }
  void give_back() { budget_->n_bytes_ -= std::exchange(n_counted_, 0); }

 private:
  const std::shared_ptr<BodyBudget> budget_;
  int64_t n_counted_ = 0;
};

}  // namespace packhorse::server
