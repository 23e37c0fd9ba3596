#include "app/server/http/sender.h"

#include <algorithm>

namespace packhorse::server {
namespace {

constexpr int64_t kDecentPart = 64 << 10;  // bytes that a slow client has to take within the time
constexpr size_t kKeptCapacity = 16 << 10;

}  // namespace

void Sender::flush(const std::shared_ptr<void>& owner) {
  if (is_sending_ || pending_.empty()) return;
  sending_.swap(pending_);
  n_sent_ = 0;
  n_flushed_ += static_cast<int64_t>(sending_.size());
  is_sending_ = true;
  send_rest(owner);
}

void Sender::send_rest(std::shared_ptr<void> owner) {
  const std::string_view rest = std::string_view(sending_).substr(n_sent_);
  stream_.send(rest, [this, owner = std::move(owner)](std::error_code error, size_t n) {
    n_sent_ += n;
    if (!error && n_sent_ < sending_.size()) return send_rest(owner);
    is_sending_ = false;
    sending_.clear();
    n_sent_ = 0;
    if (sending_.capacity() > kKeptCapacity) sending_.shrink_to_fit();
    if (error || pending_.empty()) return flushed_(!error);
    flush(owner);
  });
}

bool Sender::is_stalled(Clock::time_point now) {
  const int64_t n_waiting = num_unsent() + stream_.num_unacknowledged();
  // What was sent a moment ago may be counted twice, until its callback.
  const int64_t n_taken = std::max(window_.n_taken, num_bytes() - n_waiting);
  if (n_waiting > 0 && n_taken - window_.n_taken < std::min(window_.n_waiting, kDecentPart)) {
    return now - window_.begin > timeout_;
  }
  window_ = {.begin = now, .n_taken = n_taken, .n_waiting = n_waiting};
  return false;
}

}  // namespace packhorse::server
