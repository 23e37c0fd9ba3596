// The order in which pairs leave the queue, against a sorted set.
#include "text/merge_queue.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <utility>

namespace packhorse {
namespace {

TEST(MergeQueueTest, LowestRankThenLeftmost) {
  std::mt19937 random(3);
  MergeQueue queue;
  for (int round = 0; round < 200; ++round) {
    const bool ascending = round % 2 == 0;
    queue.resize(8);
    std::multiset<std::pair<uint32_t, uint32_t>> expected;
    for (uint32_t step = 0; step < 300 || !expected.empty(); ++step) {
      if (step < 300 && random() % 3 != 0) {
        const std::pair<uint32_t, uint32_t> entry(random() % 8, ascending ? step : random() % 50);
        queue.push(entry.first, entry.second);
        expected.insert(entry);
        continue;
      }
      std::pair<uint32_t, uint32_t> entry;
      ASSERT_EQ(queue.pop(entry.first, entry.second), !expected.empty());
      if (expected.empty()) continue;
      ASSERT_EQ(entry, *expected.begin());
      expected.erase(expected.begin());
    }
  }
}

}  // namespace
}  // namespace packhorse
