#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace packhorse {
namespace {

constexpr int kSpins = 4000;   // about 50 microseconds of pause instructions
constexpr int kYields = 2000;  // then about a millisecond of giving way: a thread that sleeps may wake on a busy CPU

void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int n_threads) {
  try {
    for (int i = 1; i < n_threads; ++i) workers_.emplace_back([this] { work(); });
  } catch (const std::system_error& e) {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    fail(ErrorKind::resource, "cannot start thread {} of {}: {}", workers_.size() + 1, n_threads, e.code().message());
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::dispatch(int64_t n_tasks, TaskFn fn, void* context) {
  if (workers_.empty() || n_tasks == 1 || running_.exchange(true, std::memory_order_acquire)) {
    for (int64_t task = 0; task < n_tasks; ++task) fn(context, task);
    return;
  }
  fn_ = fn;
  context_ = context;
  n_tasks_ = n_tasks;
  n_done_.store(0, std::memory_order_relaxed);
  n_unclaimed_.store(n_tasks, std::memory_order_release);  // from here on workers may take tasks, late ones too
  job_.fetch_add(1);                                       // sequentially consistent: pairs with the sleepers' check
  if (n_sleeping_.load() > 0) {
    { std::lock_guard lock(mutex_); }
    wake_.notify_all();
  }
  drain();
  for (int spins = 0; n_done_.load(std::memory_order_acquire) < n_tasks; ++spins) {
    pause();
    if (spins > kSpins) std::this_thread::yield();
  }
  const std::exception_ptr error = std::exchange(error_, nullptr);
  running_.store(false, std::memory_order_release);
  if (error) std::rethrow_exception(error);
}

void ThreadPool::drain() noexcept {
  for (;;) {
    const int64_t left = n_unclaimed_.fetch_sub(1, std::memory_order_acquire);
    if (left <= 0) return;
    // A claimed task keeps its job alive: fn_, context_ and n_tasks_ stay until it is counted.
    int64_t n_done = 1;
    try {
      fn_(context_, n_tasks_ - left);
    } catch (...) {
      std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
      n_done += std::max<int64_t>(0, n_unclaimed_.exchange(0, std::memory_order_relaxed));  // what is dropped
    }
    n_done_.fetch_add(n_done, std::memory_order_release);
  }
}

void ThreadPool::work() {
  uint64_t seen = 0;
  for (;;) {
    for (int i = 0; i < kSpins + kYields && job_.load(std::memory_order_acquire) == seen; ++i) {
      if (stop_.load(std::memory_order_relaxed)) return;
      pause();
      if (i > kSpins) std::this_thread::yield();
    }
    if (job_.load(std::memory_order_acquire) == seen) {
      std::unique_lock lock(mutex_);
      n_sleeping_.fetch_add(1);
      wake_.wait(lock, [&] { return stop_ || job_.load() != seen; });
      n_sleeping_.fetch_sub(1);
    }
    if (stop_) return;
    seen = job_.load(std::memory_order_acquire);
    drain();
  }
}

int available_cpus() {
  cpu_set_t set;
  int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                         : static_cast<int>(std::thread::hardware_concurrency());
  std::ifstream quota_file("/sys/fs/cgroup/cpu.max");  // "max 100000" or "150000 100000"
  std::string quota;
  double period = 0;
  if (quota_file >> quota >> period && quota != "max" && period > 0) {
    const double limit = std::strtod(quota.c_str(), nullptr) / period;
    if (limit > 0) cpus = std::min(cpus, std::max(1, static_cast<int>(std::floor(limit))));
  }
  return std::max(1, cpus);
}

}  // namespace packhorse
