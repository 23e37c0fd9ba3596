#include "app/server/http/exchange.h"

#include <utility>

namespace packhorse::server {

template <class Change>
void Exchange::update(Stage needed, Stage next, Change&& change) {
  const std::lock_guard lock(mutex_);
  if (is_over_ || stage_ != needed) return;
  change(output_);
  stage_ = next;
  notify();
}

void Exchange::notify() {
  if (is_notified_) return;
  notify_();
  is_notified_ = true;
}

class Exchange::ReplyHandle final : public Reply {
 public:
  explicit ReplyHandle(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  ~ReplyHandle() override { exchange_->drop(); }
  ReplyHandle(const ReplyHandle&) = delete;
  ReplyHandle& operator=(const ReplyHandle&) = delete;

  void send(int status, std::string_view content_type, std::string body, Headers headers) override {
    exchange_->update(Stage::unanswered, Stage::answered, [&](Output& output) {
      output.response = Response{.status = status,
                                 .content_type = std::string(content_type),
                                 .body = std::move(body),
                                 .headers = std::move(headers)};
    });
  }
  void start_stream(Headers headers) override {
    exchange_->update(Stage::unanswered, Stage::streaming,
                      [&](Output& output) { output.stream_headers = std::move(headers); });
  }
  void write(std::string events) override {
    exchange_->update(Stage::streaming, Stage::streaming, [&](Output& output) {
      if (output.events.empty()) {
        output.events = std::move(events);
      } else {
        output.events += events;
      }
    });
  }
  void end() override {
    exchange_->update(Stage::streaming, Stage::answered, [](Output& output) { output.is_ended = true; });
  }
  void on_gone(std::function<void()> gone) override { exchange_->on_gone(std::move(gone)); }

 private:
  std::shared_ptr<Exchange> exchange_;
};

ReplyPtr Exchange::make_reply(std::shared_ptr<Exchange> exchange) {
  return std::make_shared<ReplyHandle>(std::move(exchange));
}

Exchange::Output Exchange::take() {
  const std::lock_guard lock(mutex_);
  is_notified_ = false;
  return std::exchange(output_, {});
}

bool Exchange::is_left() {
  const std::lock_guard lock(mutex_);
  return is_left_;
}

void Exchange::complete() { finish(false); }

void Exchange::leave() {
  if (const std::function<void()> gone = finish(true)) gone();
}

std::function<void()> Exchange::finish(bool is_left) {
  std::function<void()> notify, gone;  // they end after the lock: what they hold may call back
  const std::lock_guard lock(mutex_);
  if (is_over_) return {};
  is_over_ = true;
  is_left_ = is_left;
  notify.swap(notify_);
  gone.swap(gone_);
  return gone;
}

void Exchange::drop() noexcept {
  const std::lock_guard lock(mutex_);
  if (is_over_) return;
  output_.is_dropped = stage_ != Stage::answered;
  stage_ = Stage::answered;
  try {
    if (output_.is_dropped || has_news()) notify();
  } catch (...) {  // no memory: the connection looks by itself from time to time
  }
}

bool Exchange::is_untold() {
  const std::lock_guard lock(mutex_);
  return !is_notified_ && has_news();
}

void Exchange::on_gone(std::function<void()> gone) {
  {
    const std::lock_guard lock(mutex_);
    if (!is_over_) gone_.swap(gone);
    if (!is_left_) return;
  }
  if (gone) gone();
}

}  // namespace packhorse::server
