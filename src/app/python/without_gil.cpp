#include "app/python/without_gil.h"

#include <nanobind/nanobind.h>

#include <chrono>
#include <thread>
#include <utility>

namespace packhorse::python {
namespace nb = nanobind;
namespace {

bool exiting = false;   // both under the GIL
int n_without_gil = 0;  // WithoutGil objects that gave it away

void let_others_finish() {
  exiting = true;
  while (n_without_gil > 0) {
    PyThreadState* state = PyEval_SaveThread();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    PyEval_RestoreThread(state);
  }
}

}  // namespace

WithoutGil::WithoutGil() {
  if (exiting) return;
  ++n_without_gil;
  state_ = PyEval_SaveThread();
}

WithoutGil::~WithoutGil() {
  if (!state_) return;
  PyEval_RestoreThread(state_);
  --n_without_gil;
}

bool is_exiting() { return exiting; }

void watch_exit(std::function<void()> stop) {
  const nb::object at_exit = nb::cpp_function([stop = std::move(stop)] {
    let_others_finish();
    stop();
  });
  nb::module_::import_("atexit").attr("register")(at_exit);
  const nb::object in_child = nb::cpp_function([] { n_without_gil = 0; });  // those threads are not in the child
  nb::module_::import_("os").attr("register_at_fork")(nb::arg("after_in_child") = in_child);
}

}  // namespace packhorse::python
