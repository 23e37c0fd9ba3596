#pragma once
// The engine as Python's threads share it.

#include <sys/types.h>

#include <memory>

#include "packhorse/packhorse.h"

namespace packhorse::python {

/// An AsyncEngine whose end fits Python: without the GIL, before the interpreter's own end, and never in a forked
/// child, which does not have the engine's thread. All functions are called with the GIL held.
class SharedEngine {
 public:
  /// Without the GIL but for `options.on_progress`, which gets it itself.
  explicit SharedEngine(const EngineOptions& options);
  ~SharedEngine();
  SharedEngine(const SharedEngine&) = delete;
  SharedEngine& operator=(const SharedEngine&) = delete;

  /// Throws Error{internal} where there is no engine any more.
  AsyncEngine& get() const;
  /// For const functions about texts and the model.
  const Engine& model() const;
  bool is_usable() const;

  /// Ends every engine that there is, with what is unfinished.
  static void stop_all();

 private:
  void stop();

  std::unique_ptr<AsyncEngine> engine_;
  pid_t process_;
};

}  // namespace packhorse::python
