// An engine on a thread of its own. Callers leave what they want in an inbox, which the thread empties before each
// step.

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "base/error.h"
#include "engine/engine_impl.h"

namespace packhorse {
namespace {

constexpr int kMaxFailedSteps = 3;               // in a row, before the engine gives up
constexpr std::chrono::milliseconds kPause{50};  // after one: memory may come back

}  // namespace

struct AsyncEngine::Impl {
  /// Who waits for one request. All that the thread needs to serve it is made by `add`: running out of memory later can
  /// end the request, but cannot leave its caller without a word.
  struct Client {
    std::unique_ptr<Request> request;  // null once the core has it
    OnOutput on_output;
    RequestOutput error;  // the output that says so
    bool wants_abort = false;
  };
  using Clients = std::map<uint64_t, Client>;

  Engine engine;
  EngineCore& core;

  mutable std::mutex mutex;  // of all up to `thread`
  std::condition_variable wake;
  Clients added, clients;  // clients change on the thread alone
  std::function<void(const EngineStats&)> on_step;
  EngineStats stats;
  std::optional<std::string> failure;
  bool wants_reset = false, wants_abort = false, stopping = false;

  // The thread's own.
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
    Client client{.request = core.make(prompt, params), .on_output = std::move(on_output), .error = {}};
    const uint64_t id = client.request->id;
    client.error.request_id = id;
    client.error.finished = true;
    client.error.outputs.emplace_back().finish_reason = "error";
    leave([&] {
      if (failure) fail(ErrorKind::resource, "the engine has stopped: {}", *failure);
      if (stopping) fail(ErrorKind::resource, "the engine is being closed");  // by a callback of its last outputs
      added.emplace(id, std::move(client));
    });
    return id;
  }

  void abort(uint64_t id) {
    leave([&] {
      for (Clients* list : {&added, &clients}) {
        const auto client = list->find(id);
        if (client != list->end()) client->second.wants_abort = wants_abort = true;
      }
    });
  }
  void abort_all() {
    leave([&] {
      for (Clients* list : {&added, &clients}) {
        for (auto& [id, client] : *list) client.wants_abort = wants_abort = true;
      }
    });
  }

  void loop() {
    for (int n_failed = 0; take_inbox();) {
      n_failed = step() ? 0 : n_failed + 1;
      if (n_failed == kMaxFailedSteps) return give_up();
      if (n_failed > 0) std::this_thread::sleep_for(kPause);
    }
    for (const auto& [id, client] : clients) core.abort(id);
    while (core.has_unfinished() && step()) {
    }
    fail_all();
  }

  /// Waits for something to do. False when the engine is to stop.
  bool take_inbox() {
    std::unique_lock lock(mutex);
    wake.wait(lock, [&] { return stopping || !added.empty() || wants_reset || wants_abort || core.has_unfinished(); });
    const uint64_t first = added.empty() ? UINT64_MAX : added.begin()->first;
    clients.merge(added);
    const bool aborts = std::exchange(wants_abort, false), resets = std::exchange(wants_reset, false);
    const bool goes_on = !stopping;
    lock.unlock();
    for (auto next = clients.lower_bound(first); next != clients.end();) {
      const auto client = next++;
      if (client->second.request) hand_over(client);
    }
    if (aborts) abort_marked();
    if (resets) core.reset_prefix_cache();
    return goes_on;
  }

  void hand_over(Clients::iterator client) {
    try {
      core.add(std::move(client->second.request));
    } catch (const std::exception&) {  // no memory for it
      fail_client(client);
    }
  }

  void abort_marked() {
    const std::lock_guard lock(mutex);
    for (auto& [id, client] : clients) {
      if (std::exchange(client.wants_abort, false)) core.abort(id);
    }
  }

  /// False when it failed as a whole.
  bool step() {
    std::vector<RequestOutput> outputs;
    try {
      outputs = core.step();
    } catch (const std::exception& e) {
      note_error(e.what());
      return false;
    }
    publish();  // whoever gets its last output finds it counted
    for (RequestOutput& output : outputs) deliver(std::move(output));
    return true;
  }

  void note_error(const char* message) noexcept {
    try {
      last_error = message;
    } catch (...) {
      last_error = "no memory";  // this short it takes none
    }
  }

  void deliver(RequestOutput&& output) noexcept {
    const auto client = clients.find(output.request_id);
    if (client == clients.end()) return;  // its callback threw
    bool is_last = output.finished;
    try {
      client->second.on_output(std::move(output));
    } catch (...) {
      if (!is_last) core.abort(client->first);
      is_last = true;
    }
    if (is_last) forget(client);
  }

  /// The last word to a client whose request the core does not have, or is to forget.
  void fail_client(Clients::iterator client) noexcept {
    core.abort(client->first);
    try {
      client->second.on_output(std::move(client->second.error));
    } catch (...) {  // there is nothing left to end
    }
    forget(client);
  }

  void forget(Clients::iterator client) noexcept {
    Clients::node_type node;  // what the callback holds ends after the lock: it may call back
    const std::lock_guard lock(mutex);
    node = clients.extract(client);
  }

  void fail_all() noexcept {
    while (!clients.empty()) fail_client(clients.begin());
  }

  /// Every request ends with an error, those that come too.
  void give_up() noexcept {
    {
      const std::lock_guard lock(mutex);
      failure = std::move(last_error);
      clients.merge(added);
    }
    fail_all();
    publish();
  }

  void publish() noexcept {
    try {
      std::function<void(const EngineStats&)> callback;
      const EngineStats now = core.stats();
      {
        const std::lock_guard lock(mutex);
        stats = now;
        callback = on_step;
      }
      if (callback) callback(now);
    } catch (...) {  // the next step counts what this one did
    }
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

void AsyncEngine::abort(uint64_t request_id) { impl_->abort(request_id); }

void AsyncEngine::abort_all() { impl_->abort_all(); }

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
