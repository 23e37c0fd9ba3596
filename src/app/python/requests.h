#pragma once
// Requests of one consumer, and their outputs on the way from the engine's thread, which never takes the GIL.

#include <memory>
#include <optional>
#include <vector>

#include "app/python/shared_engine.h"

namespace packhorse::python {

/// What one consumer has in the engine; any number of them share one. All functions are called with the GIL held, from
/// any thread. Its end aborts what is unfinished.
class Requests {
 public:
  /// `engine` outlives it.
  explicit Requests(SharedEngine& engine);
  ~Requests();
  Requests(const Requests&) = delete;
  Requests& operator=(const Requests&) = delete;

  /// Checks, tokenizes and queues without the GIL. Throws as AsyncEngine::add.
  uint64_t add(const Prompt& prompt, const SamplingParams& params);
  uint64_t add(const Prompt& prompt, const PoolingParams& params);
  /// Its last output still comes. Does nothing where the engine has ended.
  void abort(uint64_t request_id);

  /// All outputs that came since the last call, in order; waits for the first one, without the GIL, at most
  /// `timeout` seconds (nothing = for ever). Of a cumulative request only the latest is kept. Nothing when `close` was
  /// called or the interpreter exits. Throws what a signal handler raised.
  std::optional<std::vector<RequestOutput>> next(std::optional<double> timeout);
  /// Ends all waiting for outputs, for good.
  void close();

 private:
  struct Mailbox;

  template <class Params>
  uint64_t add_to_engine(const Prompt& prompt, const Params& params, bool keep_latest);

  SharedEngine& engine_;
  std::shared_ptr<Mailbox> mailbox_;  // shared with the engine's callbacks
};

}  // namespace packhorse::python
