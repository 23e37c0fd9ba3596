#pragma once
// Signals as notes that one asks for, instead of interruptions.

#include <csignal>
#include <initializer_list>
#include <map>

namespace packhorse::cli {

/// While it lives, the given signals only leave notes. All watches share one queue of notes and may be nested. A note
/// wakes who waits on descriptor(), whichever thread the signal hit. Throws Error{resource}.
class SignalWatch {
 public:
  explicit SignalWatch(std::initializer_list<int> signals);
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  /// Readable while there are notes.
  int descriptor() const;
  /// Takes the oldest note: a signal, or 0 when there is none.
  int next();
  /// Lets the signal, one of this watch, do what it would do without it. Returns where that leaves the process alive.
  void let_pass(int signal);

 private:
  std::map<int, struct sigaction> previous_;
};

}  // namespace packhorse::cli
