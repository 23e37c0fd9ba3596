#pragma once
// A small engine with what the API's handlers share, and a reply that remembers what it was told.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "app/server/api/errors.h"
#include "app/server/api/fields.h"
#include "app/server/context.h"
#include "app/server/metrics.h"
#include "testing.h"

namespace packhorse::server::testing {

inline EngineOptions small_engine() {
  EngineOptions options;
  options.model = (packhorse::testing::golden_dir() / "formats/bnb-nf4-double").string();
  options.dtype = "float32";
  options.max_model_len = 128;
  options.max_num_seqs = 4;
  options.threads = 1;
  options.num_kv_blocks_override = 64;
  return options;
}

/// The engine's outputs end before the context does.
struct SmallServer {
  Metrics metrics{"tiny"};
  std::unique_ptr<AsyncEngine> engine;
  ServerContext context;

  explicit SmallServer(const EngineOptions& options = small_engine())
      : engine(std::make_unique<AsyncEngine>(options)), context{*engine, {}, metrics, 1'700'000'000, {0}} {
    context.options.served_model_names = {"tiny", "alias"};
  }
  ~SmallServer() { engine.reset(); }
};

class RecordingReply : public Reply {
 public:
  void send(int status_code, std::string_view, std::string text, Headers) override {
    const std::lock_guard lock(mutex_);
    status = status_code;
    body = std::move(text);
    finish();
  }
  void start_stream(Headers) override {
    const std::lock_guard lock(mutex_);
    is_stream = true;
  }
  void write(std::string events) override {
    const std::lock_guard lock(mutex_);
    body += events;
  }
  void end() override {
    const std::lock_guard lock(mutex_);
    finish();
  }
  void on_gone(std::function<void()> gone) override {
    const std::lock_guard lock(mutex_);
    gone_ = std::move(gone);
  }

  void leave() {
    std::function<void()> gone;
    {
      const std::lock_guard lock(mutex_);
      gone = gone_;
    }
    if (gone) gone();
  }
  /// False when nothing ended it in ten seconds.
  bool wait() {
    std::unique_lock lock(mutex_);
    return ended_.wait_for(lock, std::chrono::seconds(10), [this] { return n_ends > 0; });
  }

  int status = 0, n_ends = 0;
  bool is_stream = false;
  std::string body;

 private:
  void finish() {
    ++n_ends;
    ended_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable ended_;
  std::function<void()> gone_;
};

/// What `action` throws, as the server would answer it.
template <class Action>
HttpError refusal(Action&& action) {
  try {
    action();
  } catch (const HttpError& error) {
    return error;
  } catch (const Error&) {
    const ErrorAnswer answer = describe_error(std::current_exception());
    return HttpError(answer.status, answer.message, answer.param);
  }
  return HttpError(200, "nothing was thrown");
}

inline HttpRequest json_request(std::string body) {
  HttpRequest request;
  request.id = "abc";
  request.method = "POST";
  request.headers = {{"Content-Type", "application/json"}};
  request.body = std::move(body);
  return request;
}

}  // namespace packhorse::server::testing
