#include "app/python/requests.h"

#include <nanobind/nanobind.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <set>
#include <unordered_map>
#include <utility>

#include "app/python/without_gil.h"

namespace packhorse::python {
namespace {

using Clock = std::chrono::steady_clock;

// How often a waiting thread looks for signals (Ctrl-C) and for the interpreter's exit.
constexpr auto kSignalCheck = std::chrono::milliseconds(100);
constexpr double kLongest = 1e8;  // seconds; a clock's time plus this fits

}  // namespace

struct Requests::Mailbox {
  std::mutex mutex;
  std::condition_variable arrived;
  std::vector<RequestOutput> outputs;
  std::unordered_map<uint64_t, size_t> places;  // in `outputs`, of requests that keep the latest alone
  std::set<uint64_t> unfinished;
  bool closed = false;
  bool lost_output = false;  // for want of memory: whoever waits for it is told

  /// `finished` is the request's own. On the engine's thread.
  void put(RequestOutput&& output, bool keep_latest, bool& finished) {
    const std::lock_guard lock(mutex);
    if (output.finished) {
      finished = true;
      unfinished.erase(output.request_id);
    }
    if (closed) return;
    try {
      keep(std::move(output), keep_latest);
    } catch (...) {
      lost_output = true;
      arrived.notify_all();
      throw;
    }
    arrived.notify_all();
  }

  void keep(RequestOutput&& output, bool keep_latest) {
    if (keep_latest) {
      const auto [place, is_new] = places.try_emplace(output.request_id, outputs.size());
      if (!is_new) {
        outputs[place->second] = std::move(output);
        return;
      }
    }
    outputs.push_back(std::move(output));
  }

  /// The engine may have finished it already.
  void added(uint64_t request_id, const bool& finished) {
    const std::lock_guard lock(mutex);
    if (!finished) unfinished.insert(request_id);
  }

  /// Nothing yet when the time is up.
  std::vector<RequestOutput> wait_until(Clock::time_point end) {
    std::unique_lock lock(mutex);
    arrived.wait_until(lock, end, [&] { return closed || lost_output || !outputs.empty(); });
    if (outputs.empty() && lost_output) throw std::bad_alloc();
    places.clear();
    return std::exchange(outputs, {});
  }
};

Requests::Requests(SharedEngine& engine) : engine_(engine), mailbox_(std::make_shared<Mailbox>()) { engine.get(); }

Requests::~Requests() {
  if (!engine_.is_usable()) return;  // in a forked child the mailbox may be locked for ever
  std::set<uint64_t> unfinished;
  {
    const std::lock_guard lock(mailbox_->mutex);
    mailbox_->closed = true;
    unfinished = mailbox_->unfinished;
  }
  for (const uint64_t id : unfinished) engine_.get().abort(id);
}

template <class Params>
uint64_t Requests::add_to_engine(const Prompt& prompt, const Params& params, bool keep_latest) {
  AsyncEngine& engine = engine_.get();
  auto finished = std::make_shared<bool>(false);
  const WithoutGil no_gil;
  const uint64_t id = engine.add(prompt, params, [mailbox = mailbox_, finished, keep_latest](RequestOutput&& output) {
    mailbox->put(std::move(output), keep_latest, *finished);
  });
  mailbox_->added(id, *finished);
  return id;
}

uint64_t Requests::add(const Prompt& prompt, const SamplingParams& params) {
  return add_to_engine(prompt, params, params.output_kind == OutputKind::cumulative);
}
uint64_t Requests::add(const Prompt& prompt, const PoolingParams& params) {
  return add_to_engine(prompt, params, false);
}

void Requests::abort(uint64_t request_id) {
  if (engine_.is_usable()) engine_.get().abort(request_id);
}

std::optional<std::vector<RequestOutput>> Requests::next(std::optional<double> timeout) {
  engine_.get();  // in a forked child nothing ever comes
  const double seconds = std::clamp(timeout.value_or(kLongest), 0.0, kLongest);
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  while (!is_exiting()) {
    std::vector<RequestOutput> outputs;
    {
      const WithoutGil no_gil;
      outputs = mailbox_->wait_until(std::min(end, Clock::now() + kSignalCheck));
    }
    if (!outputs.empty()) return outputs;
    if (PyErr_CheckSignals() != 0) nanobind::raise_python_error();
    const std::lock_guard lock(mailbox_->mutex);
    if (mailbox_->closed) return std::nullopt;
    if (Clock::now() >= end) return outputs;
  }
  return std::nullopt;
}

void Requests::close() {
  const std::lock_guard lock(mailbox_->mutex);
  mailbox_->closed = true;
  mailbox_->arrived.notify_all();
}

}  // namespace packhorse::python
