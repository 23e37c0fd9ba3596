#pragma once
// The answer to one request, between the threads that write the answer and the connection that sends it.

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "app/server/http/http.h"
#include "app/server/http/response.h"

namespace packhorse::server {

/// Threads leave here what is to be sent, and the first one to do so calls the connection, which takes all there is.
class Exchange {
 public:
  struct Output {
    std::optional<Response> response;
    std::optional<Headers> stream_headers;
    std::string events;
    bool is_ended = false;
    bool is_dropped = false;  // no more will come
  };

  explicit Exchange(std::function<void()> notify) : notify_(std::move(notify)) {}

  /// What handlers write to; to be made once.
  static ReplyPtr make_reply(std::shared_ptr<Exchange> exchange);

  /// Whether the client has left: nobody waits for the answer any more.
  bool is_left();

  // For the connection.
  Output take();
  /// Whether there is something to take that could not be told.
  bool is_untold();
  void complete();
  /// The client left.
  void leave();

 private:
  class ReplyHandle;
  enum class Stage : uint8_t { unanswered, streaming, answered };

  /// Changes what is to be sent, with `change(output_)`, if the answer is at `needed`.
  template <class Change>
  void update(Stage needed, Stage next, Change&& change);
  bool has_news() const {
    return output_.response || output_.stream_headers || !output_.events.empty() || output_.is_ended ||
           output_.is_dropped;
  }
  void notify();
  void drop() noexcept;
  void on_gone(std::function<void()> gone);
  /// Forgets both callbacks, since they may hold the connection and the reply; returns `gone_`.
  std::function<void()> finish(bool is_left);

  std::mutex mutex_;
  Output output_;
  Stage stage_ = Stage::unanswered;
  bool is_notified_ = false, is_over_ = false, is_left_ = false;
  std::function<void()> notify_, gone_;
};

}  // namespace packhorse::server
