#pragma once
// Worker threads for loading and for kernels. One job at a time; the calling thread works too.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace packhorse {

/// Workers spin for a short while after a job, then sleep, so that the many small jobs of a decode step find them
/// awake.
class ThreadPool {
 public:
  /// `n_threads` includes the caller; 1 starts no thread. Error{resource} when a thread cannot be started.
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls body(task) for every task in [0, n_tasks), each once, in no particular order; returns when all are done. The
  /// first exception of a task is rethrown here, and tasks not yet begun are dropped. While a job is running, a second
  /// one, such as a task starts, runs on the calling thread alone.
  template <class F>
  void run(int64_t n_tasks, F&& body) {
    if (n_tasks <= 0) return;
    using Body = std::remove_reference_t<F>;
    dispatch(
        n_tasks, [](void* context, int64_t task) { (*static_cast<Body*>(context))(task); }, &body);
  }

 private:
  using TaskFn = void (*)(void*, int64_t);
  void dispatch(int64_t n_tasks, TaskFn fn, void* context);
  void work();
  void drain() noexcept;

  std::vector<std::thread> workers_;
  TaskFn fn_ = nullptr;
  void* context_ = nullptr;
  int64_t n_tasks_ = 0;
  std::atomic<bool> running_{false};
  std::atomic<int64_t> n_unclaimed_{0};  // tasks that nobody has taken; negative once workers found none
  std::atomic<int64_t> n_done_{0};       // tasks run or dropped: the caller waits for these, not for idle workers
  std::atomic<uint64_t> job_{0};         // odd bits never reused: a new value is a new job
  std::atomic<bool> stop_{false};
  std::atomic<int> n_sleeping_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::exception_ptr error_;
  std::mutex error_mutex_;
};

/// CPUs this process may use: affinity mask and cgroup quota, at least 1.
int available_cpus();

}  // namespace packhorse
