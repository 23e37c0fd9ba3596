// An engine on a thread of its own. Callers leave what they want in an inbox, which the thread empties before each
// step.

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "base/error.h"
#include "engine/engine_impl.h"

namespace packhorse {
namespace {

constexpr int kMaxFailedSteps = 3;  // in a row, before the engine gives up

}  // namespace

struct AsyncEngine::Impl {
  Engine engine;
  EngineCore& core;

  mutable std::mutex mutex;  // of all up to `thread`
  std::condition_variable wake;
  std::vector<std::pair<std::unique_ptr<Request>, OnOutput>> added;
  std::vector<uint64_t> aborted;
  std::function<void(const EngineStats&)> on_step;
  EngineStats stats;
  std::optional<std::string> failure;
  bool wants_reset = false, wants_abort = false, stopping = false;

  // The thread's own.
  std::map<uint64_t, OnOutput> callbacks;
  std::string last_error;
  std::thread thread;

  Impl(const EngineOptions& options, EngineCore& (*core_of)(Engine&))
      : engine(options), core(core_of(engine)), stats(core.stats()), thread([this] { loop(); }) {}

  ~Impl() {
    leave([&] { stopping = true; });
    thread.join();
  }

  /// Changes the inbox and wakes the thread.
  template <class Change>
  void leave(Change&& change) {
    {
      const std::lock_guard lock(mutex);
      change();
    }
    wake.notify_one();
  }

  template <class Params>
  uint64_t add(const Prompt& prompt, const Params& params, OnOutput on_output) {
    std::unique_ptr<Request> request = core.make(prompt, params);
    const uint64_t id = request->id;
    leave([&] {
      if (failure) fail(ErrorKind::resource, "the engine has stopped: {}", *failure);
      added.emplace_back(std::move(request), std::move(on_output));
    });
    return id;
  }

  void loop() {
    int n_failed = 0;
    while (take_inbox()) {
      n_failed = step() ? 0 : n_failed + 1;
      if (n_failed >= kMaxFailedSteps) give_up();
    }
    for (const auto& [id, callback] : callbacks) core.abort(id);
    while (core.has_unfinished() && step()) {
    }
  }

  /// Waits for something to do. False when the engine is to stop.
  bool take_inbox() {
    decltype(added) requests;
    std::vector<uint64_t> ids;
    bool reset = false, abort_all = false;
    {
      std::unique_lock lock(mutex);
      wake.wait(lock, [&] {
        return stopping || !added.empty() || !aborted.empty() || wants_reset || wants_abort || core.has_unfinished();
      });
      requests.swap(added);
      ids.swap(aborted);
      reset = std::exchange(wants_reset, false);
      abort_all = std::exchange(wants_abort, false);
    }
    for (auto& [request, callback] : requests) {
      callbacks.emplace(request->id, std::move(callback));
      core.add(std::move(request));
    }
    for (const uint64_t id : ids) core.abort(id);
    if (abort_all) {
      for (const auto& [id, callback] : callbacks) core.abort(id);
    }
    if (reset) core.reset_prefix_cache();
    const std::lock_guard lock(mutex);
    return !stopping;
  }

  /// False when it failed as a whole.
  bool step() {
    try {
      std::vector<RequestOutput> outputs = core.step();
      publish();  // whoever gets its last output finds it counted
      for (RequestOutput& output : outputs) deliver(std::move(output));
      return true;
    } catch (const std::exception& e) {
      last_error = e.what();
      return false;
    }
  }

  void deliver(RequestOutput&& output) {
    const auto it = callbacks.find(output.request_id);
    if (it == callbacks.end()) return;  // its callback threw
    const bool is_last = output.finished;
    try {
      it->second(std::move(output));
    } catch (...) {
      if (!is_last) core.abort(it->first);
      callbacks.erase(it);
      return;
    }
    if (is_last) callbacks.erase(it);
  }

  /// Every request ends with an error, those that come too.
  void give_up() {
    {
      const std::lock_guard lock(mutex);
      failure = last_error;
    }
    for (auto& [id, callback] : std::exchange(callbacks, {})) {
      core.abort(id);
      RequestOutput output;
      output.request_id = id;
      output.finished = true;
      output.outputs.emplace_back().finish_reason = "error";
      try {
        callback(std::move(output));
      } catch (...) {  // there is nothing left to end
      }
    }
  }

  void publish() {
    std::function<void(const EngineStats&)> callback;
    EngineStats now = core.stats();
    {
      const std::lock_guard lock(mutex);
      stats = now;
      callback = on_step;
    }
    if (callback) callback(now);
  }
};

AsyncEngine::AsyncEngine(const EngineOptions& options)
    : impl_(std::make_unique<Impl>(options, [](Engine& e) -> EngineCore& { return e.impl_->core; })) {}
AsyncEngine::~AsyncEngine() = default;

uint64_t AsyncEngine::add(const Prompt& prompt, const SamplingParams& params, OnOutput on_output) {
  return impl_->add(prompt, params, std::move(on_output));
}
uint64_t AsyncEngine::add(const Prompt& prompt, const PoolingParams& params, OnOutput on_output) {
  return impl_->add(prompt, params, std::move(on_output));
}

void AsyncEngine::abort(uint64_t request_id) {
  impl_->leave([&] { impl_->aborted.push_back(request_id); });
}

void AsyncEngine::abort_all() {
  impl_->leave([&] { impl_->wants_abort = true; });
}

EngineStats AsyncEngine::stats() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->stats;
}

std::optional<std::string> AsyncEngine::failure() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->failure;
}

void AsyncEngine::reset_prefix_cache() {
  impl_->leave([&] { impl_->wants_reset = true; });
}

void AsyncEngine::on_step(std::function<void(const EngineStats&)> callback) {
  const std::lock_guard lock(impl_->mutex);
  impl_->on_step = std::move(callback);
}

const Engine& AsyncEngine::engine() const { return impl_->engine; }

}  // namespace packhorse
