#include "cache/block_allocator.h"

#include <gtest/gtest.h>

#include <set>

namespace packhorse {
namespace {

TEST(BlockAllocator, GivesEachBlockOnce) {
  BlockAllocator blocks(5);
  std::set<int32_t> taken;
  while (blocks.n_free() > 0) taken.insert(blocks.allocate());
  EXPECT_EQ(taken, (std::set<int32_t>{0, 1, 2, 3, 4}));
}

TEST(BlockAllocator, FreesWithTheLastUser) {
  BlockAllocator blocks(2);
  const int32_t block = blocks.allocate();
  blocks.add_user(block);
  blocks.release(block, false);
  EXPECT_EQ(blocks.n_free(), 1);
  EXPECT_EQ(blocks.n_users(block), 1);
  blocks.release(block, false);
  EXPECT_EQ(blocks.n_free(), 2);
}

TEST(BlockAllocator, TakesWorthlessBlocksFirstThenTheLongestUnused) {
  BlockAllocator blocks(4);
  for (int i = 0; i < 4; ++i) blocks.allocate();
  blocks.release(2, true);
  blocks.release(0, true);
  blocks.release(3, false);
  EXPECT_EQ(blocks.allocate(), 3);
  EXPECT_EQ(blocks.allocate(), 2);
  EXPECT_EQ(blocks.allocate(), 0);
}

TEST(BlockAllocator, RevivedBlockLeavesTheQueue) {
  BlockAllocator blocks(3);
  for (int i = 0; i < 3; ++i) blocks.allocate();
  for (const int32_t block : {0, 1, 2}) blocks.release(block, true);
  blocks.add_user(1);
  EXPECT_EQ(blocks.n_free(), 2);
  EXPECT_EQ(blocks.allocate(), 0);
  EXPECT_EQ(blocks.allocate(), 2);
  EXPECT_EQ(blocks.n_free(), 0);
}

}  // namespace
}  // namespace packhorse
