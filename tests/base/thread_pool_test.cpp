// The pool that kernels and loading run on; the thread sanitizer's build runs these too.
#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>

#include "base/error.h"

namespace packhorse {
namespace {

/// How often each task of a job was run.
std::vector<int> runs(ThreadPool& pool, int64_t n_tasks) {
  std::vector<int> counts(static_cast<size_t>(std::max<int64_t>(n_tasks, 0)));
  pool.run(n_tasks, [&](int64_t task) { ++counts[static_cast<size_t>(task)]; });
  return counts;
}

class Pool : public ::testing::TestWithParam<int> {
 protected:
  ThreadPool pool{GetParam()};
};

TEST_P(Pool, runs_every_task_once) {
  EXPECT_EQ(pool.size(), GetParam());
  for (const int64_t n_tasks : {1, 2, 3, 7, 64, 1000, 100'000}) {
    EXPECT_EQ(runs(pool, n_tasks), std::vector<int>(static_cast<size_t>(n_tasks), 1)) << n_tasks;
  }
}

TEST_P(Pool, no_tasks_are_no_work) {
  for (const int64_t n_tasks : {int64_t{0}, int64_t{-1}, INT64_MIN}) EXPECT_EQ(runs(pool, n_tasks).size(), 0u);
  EXPECT_EQ(runs(pool, 3), std::vector<int>(3, 1));
}

TEST_P(Pool, results_are_there_when_run_returns) {
  std::vector<int64_t> values(64);
  int64_t sum = 0;
  for (int64_t job = 0; job < 1000; ++job) {  // every job writes what the next one reads, without any lock
    pool.run(64, [&](int64_t task) { values[static_cast<size_t>(task)] += task + job; });
    sum += 64 * 63 / 2 + 64 * job;
  }
  EXPECT_EQ(std::accumulate(values.begin(), values.end(), int64_t{0}), sum);
}

TEST_P(Pool, jobs_after_a_pause_find_sleeping_workers) {
  for (int job = 0; job < 5; ++job) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(runs(pool, 50), std::vector<int>(50, 1));
  }
}

TEST_P(Pool, an_exception_is_rethrown_and_the_pool_goes_on) {
  for (const int64_t bad : {0, 1, 50, 99}) {
    std::atomic<int> n_run = 0;
    auto body = [&](int64_t task) {
      ++n_run;
      if (task == bad) fail(ErrorKind::io, "task {}", task);
    };
    try {
      pool.run(100, body);
      ADD_FAILURE() << "no exception";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::io);
      EXPECT_EQ(error.what(), "task " + std::to_string(bad));
    }
    EXPECT_LE(n_run, 100);
    EXPECT_EQ(runs(pool, 100), std::vector<int>(100, 1));
  }
}

TEST_P(Pool, of_many_exceptions_one_arrives) {
  std::atomic<int> n_run = 0;
  auto body = [&](int64_t) {
    ++n_run;
    throw std::runtime_error("each");
  };
  EXPECT_THROW(pool.run(10'000, body), std::runtime_error);
  EXPECT_LE(n_run, pool.size());  // the rest was dropped
  EXPECT_EQ(runs(pool, 10), std::vector<int>(10, 1));
}

TEST_P(Pool, a_job_inside_a_task_runs_on_its_thread) {
  std::vector<std::vector<int>> counts(20);
  std::atomic<int> n_elsewhere = 0;
  pool.run(20, [&](int64_t task) {
    const std::thread::id here = std::this_thread::get_id();
    auto& mine = counts[static_cast<size_t>(task)];
    mine.resize(30);
    pool.run(30, [&](int64_t inner) {
      ++mine[static_cast<size_t>(inner)];
      if (std::this_thread::get_id() != here) ++n_elsewhere;
    });
  });
  EXPECT_EQ(counts, std::vector(20, std::vector<int>(30, 1)));
  EXPECT_EQ(n_elsewhere, 0);
  EXPECT_THROW(pool.run(20, [&](int64_t) { pool.run(3, [](int64_t) { throw std::runtime_error("inner"); }); }),
               std::runtime_error);
  EXPECT_EQ(runs(pool, 10), std::vector<int>(10, 1));
}

TEST_P(Pool, another_pool_inside_a_task) {
  std::atomic<int64_t> sum = 0;
  pool.run(4, [&](int64_t) {
    ThreadPool inner(2);
    inner.run(10, [&](int64_t task) { sum += task; });
  });
  EXPECT_EQ(sum, 4 * 45);
}

// One thread, two, and more than there are cores: a pool must not depend on its workers getting a core.
INSTANTIATE_TEST_SUITE_P(Sizes, Pool, ::testing::Values(1, 2, 3, 16),
                         [](const auto& test) { return std::to_string(test.param) + "_threads"; });

TEST(ThreadPool, all_threads_take_part) {
  ThreadPool pool(4);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  // A task waits for the other three, so that it takes four threads to get through.
  pool.run(4, [&](int64_t) {
    {
      const std::lock_guard lock(mutex);
      seen.insert(std::this_thread::get_id());
    }
    for (size_t n = 0; n < 4; std::this_thread::yield()) {
      const std::lock_guard lock(mutex);
      n = seen.size();
    }
  });
  EXPECT_EQ(seen.size(), 4u);
}

TEST(ThreadPool, ends_whether_or_not_it_worked) {
  for (int i = 0; i < 50; ++i) {
    ThreadPool idle(4);
    ThreadPool busy(4);
    if (i % 2) busy.run(8, [](int64_t) {});
  }
}

TEST(ThreadPool, some_cpu_is_available) { EXPECT_GE(available_cpus(), 1); }

}  // namespace
}  // namespace packhorse
