#include "nn/load_progress.h"

#include <gtest/gtest.h>

#include <mutex>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/packed_weight.h"

namespace packhorse {
namespace {

using namespace std::chrono_literals;

TEST(LoadProgress, reports_seldom_and_in_the_end) {
  std::vector<uint64_t> reported;
  LoadProgress progress(
      [&](uint64_t done, uint64_t total) {
        EXPECT_EQ(total, 1000u);
        reported.push_back(done);
      },
      1000);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) progress.add(5);
  const auto n_intervals = static_cast<size_t>((std::chrono::steady_clock::now() - begin) / LoadProgress::kInterval);
  ASSERT_GE(reported.size(), 1u);
  EXPECT_LE(reported.size(), 1 + n_intervals);
  EXPECT_EQ(reported.front(), 5u);
  std::this_thread::sleep_for(LoadProgress::kInterval);
  progress.add(9999);
  EXPECT_EQ(reported.back(), 1000u);  // never beyond the total
  progress.finish();
  EXPECT_EQ(reported.back(), 1000u);
}

TEST(LoadProgress, only_the_thread_that_made_it_reports) {
  const auto owner = std::this_thread::get_id();
  uint64_t n_reports = 0, last = 0;
  LoadProgress progress(
      [&](uint64_t done, uint64_t) {
        EXPECT_EQ(std::this_thread::get_id(), owner);
        ++n_reports, last = done;
      },
      100);
  std::thread([&] { progress.add(40); }).join();
  EXPECT_EQ(n_reports, 0u);
  progress.add(2);
  EXPECT_EQ(n_reports, 1u);
  EXPECT_EQ(last, 42u);
}

TEST(LoadProgress, a_report_may_throw) {
  LoadProgress progress([](uint64_t, uint64_t) { throw std::runtime_error("stop"); }, 10);
  EXPECT_THROW(progress.add(1), std::runtime_error);
}

/// Rows of a weight are counted as they are read, and exactly all in the end.
TEST(LoadProgress, packing_counts_what_it_reads) {
  const WeightPlan plan{.name = "w",
                        .encoding = {.element = Element::bf16, .bits = 16},
                        .n = 1000,
                        .k = 1024,
                        .source_bytes = 1000 * 1024 * 2 + 7,
                        .read = [](int64_t begin, int64_t count, RowBlock& rows) {
                          rows.resize({.element = Element::bf16, .bits = 16}, begin, count, 1024);
                        }};
  const KernelSelector selector("", "");
  ThreadPool pool(2);
  std::mutex mutex;
  std::vector<uint64_t> pieces;
  const PackedWeight packed(plan, selector, pool, {.fast = true, .on_read = [&](uint64_t n_bytes) {
                                                     const std::lock_guard lock(mutex);
                                                     pieces.push_back(n_bytes);
                                                   }});
  EXPECT_GE(pieces.size(), 4u);
  EXPECT_EQ(std::accumulate(pieces.begin(), pieces.end(), uint64_t{0}), plan.source_bytes);
}

}  // namespace
}  // namespace packhorse
