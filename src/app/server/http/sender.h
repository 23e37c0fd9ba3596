#pragma once
// What a connection has to send: gathered while a send is under way, and watched for a client that does not read.

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "app/server/http/service.h"
#include "app/server/http/stream.h"

namespace packhorse::server {

class Sender {
 public:
  /// `flushed` is called when all was handed to the system (true), or sending failed (false).
  Sender(Stream& stream, std::chrono::milliseconds timeout, std::function<void(bool)> flushed)
      : stream_(stream), timeout_(timeout), flushed_(std::move(flushed)) {}

  std::string& buffer() { return pending_; }  // to append to; then `flush`
  /// `owner` lives until the send has ended.
  void flush(const std::shared_ptr<void>& owner);

  bool is_idle() const { return !is_sending_ && pending_.empty(); }
  int64_t num_unsent() const { return static_cast<int64_t>(pending_.size() + sending_.size() - n_sent_); }
  int64_t num_bytes() const { return n_flushed_ + static_cast<int64_t>(pending_.size()); }  // since the begin
  /// For `timeout` the client took neither all that waited for it nor a decent part. To be called again and again.
  bool is_stalled(Clock::time_point now);

 private:
  void send_rest(std::shared_ptr<void> owner);

  Stream& stream_;
  std::chrono::milliseconds timeout_;
  std::function<void(bool)> flushed_;
  std::string pending_, sending_;
  size_t n_sent_ = 0;  // of sending_
  int64_t n_flushed_ = 0;
  bool is_sending_ = false;

  struct Window {
    Clock::time_point begin;
    int64_t n_taken = 0, n_waiting = 0;
  } window_;
};

}  // namespace packhorse::server
