#include "app/python/shared_engine.h"

#include <unistd.h>

#include <set>

#include "app/python/without_gil.h"

namespace packhorse::python {
namespace {

std::set<SharedEngine*> engines;  // under the GIL

}  // namespace

SharedEngine::SharedEngine(const EngineOptions& options) : process_(getpid()) {
  {
    const WithoutGil no_gil;
    engine_ = std::make_unique<AsyncEngine>(options);
  }
  engines.insert(this);
}

SharedEngine::~SharedEngine() {
  engines.erase(this);
  stop();
}

void SharedEngine::stop() {
  if (process_ != getpid()) {
    static_cast<void>(engine_.release());  // its thread cannot be joined here
    return;
  }
  const WithoutGil no_gil;
  engine_.reset();
}

void SharedEngine::stop_all() {
  for (SharedEngine* engine : engines) engine->stop();
}

bool SharedEngine::is_usable() const { return engine_ && process_ == getpid(); }

AsyncEngine& SharedEngine::get() const {
  if (!engine_) throw Error(ErrorKind::internal, "the engine has ended, with the interpreter");
  if (process_ != getpid()) {
    throw Error(ErrorKind::internal, "the engine runs in the process that loaded it, not in a forked child");
  }
  return *engine_;
}

const Engine& SharedEngine::model() const {
  if (!engine_) throw Error(ErrorKind::internal, "the engine has ended, with the interpreter");
  return engine_->engine();
}

}  // namespace packhorse::python
