#include "engine/structured/large_stack.h"

#include <pthread.h>

#include <cstddef>
#include <exception>

#include "base/error.h"

namespace packhorse {
namespace {

constexpr size_t kStackBytes = size_t{64} << 20;  // of addresses; memory is taken as it is used

struct Call {
  const std::function<void()>& work;
  std::exception_ptr error;
};

void* run(void* argument) {
  Call& call = *static_cast<Call*>(argument);
  try {
    call.work();
  } catch (...) {
    call.error = std::current_exception();
  }
  return nullptr;
}

}  // namespace

void run_on_large_stack(const std::function<void()>& work) {
  Call call{work, nullptr};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_t thread{};
  int status = pthread_attr_setstacksize(&attributes, kStackBytes);
  if (status == 0) status = pthread_create(&thread, &attributes, run, &call);
  pthread_attr_destroy(&attributes);
  if (status != 0) fail(ErrorKind::resource, "a thread with a stack of {} bytes: error {}", kStackBytes, status);
  pthread_join(thread, nullptr);
  if (call.error) std::rethrow_exception(call.error);
}

}  // namespace packhorse
