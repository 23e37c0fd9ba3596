#pragma once
// Waiting without the interpreter's lock (GIL), safe while the interpreter exits.

#include <Python.h>

#include <functional>

namespace packhorse::python {

/// Gives the GIL away as long as it lives. A thread that asks for it back while the interpreter goes down never
/// returns, and its C++ frames cannot be unwound; so the interpreter's exit waits for all of these first, and from then
/// on they keep the GIL. Made and destroyed with the GIL held.
class WithoutGil {
 public:
  WithoutGil();
  ~WithoutGil();
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_ = nullptr;
};

/// Whether the interpreter has begun to exit. With the GIL held.
bool is_exiting();

/// Registers what the interpreter's exit and a fork have to do: at exit `stop` is called, with the GIL held, when no
/// thread is without the GIL any more. Once, from the module's initialization.
void watch_exit(std::function<void()> stop);

}  // namespace packhorse::python
