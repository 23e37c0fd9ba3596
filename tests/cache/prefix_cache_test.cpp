#include "cache/prefix_cache.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <random>

namespace packhorse {
namespace {

std::vector<int32_t> tokens_from(int32_t first, int64_t count) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

/// Blocks for all of `tokens` (full ones only), made known.
std::vector<int32_t> fill(PrefixCache& cache, std::span<const int32_t> tokens, std::string_view salt = "") {
  std::vector<int32_t> blocks;
  for (; tokens.size() >= kKvBlockTokens; tokens = tokens.subspan(kKvBlockTokens)) {
    const int32_t fresh = cache.allocate();
    blocks.push_back(cache.insert(blocks.empty() ? -1 : blocks.back(), tokens.first(kKvBlockTokens), salt, fresh));
  }
  return blocks;
}

TEST(PrefixCache, FindsTheLongestKnownPrefix) {
  PrefixCache cache(8, true);
  auto tokens = tokens_from(0, 48);
  const auto blocks = fill(cache, tokens);
  EXPECT_EQ(cache.acquire(tokens, ""), blocks);
  EXPECT_EQ(cache.acquire(std::span(tokens).first(47), ""), (std::vector<int32_t>{blocks[0], blocks[1]}));
  tokens[20] = 999;
  EXPECT_EQ(cache.acquire(tokens, ""), std::vector<int32_t>{blocks[0]});
  tokens[15] = 999;
  EXPECT_TRUE(cache.acquire(tokens, "").empty());
}

TEST(PrefixCache, SameTokensAfterAnotherStartAreNotFound) {
  PrefixCache cache(8, true);
  fill(cache, tokens_from(0, 32));
  EXPECT_TRUE(cache.acquire(tokens_from(16, 16), "").empty());
}

TEST(PrefixCache, KeepsBlocksOfFinishedSequencesAndEvictsTailsFirst) {
  PrefixCache cache(4, true);
  const auto tokens = tokens_from(0, 48);
  const auto blocks = fill(cache, tokens);
  cache.release(blocks);
  EXPECT_EQ(cache.n_free(), 4);
  EXPECT_EQ(cache.allocate(), 3);          // the one never used
  EXPECT_EQ(cache.allocate(), blocks[2]);  // then the tail
  EXPECT_EQ(cache.acquire(tokens, ""), (std::vector<int32_t>{blocks[0], blocks[1]}));
  EXPECT_EQ(cache.n_free(), 0);
}

TEST(PrefixCache, EqualBlocksBecomeOne) {
  PrefixCache cache(4, true);
  const auto tokens = tokens_from(0, 32);
  const auto first = fill(cache, tokens);
  const auto second = fill(cache, tokens);
  EXPECT_EQ(first, second);
  EXPECT_EQ(cache.n_free(), 2);
  cache.release(first);
  EXPECT_EQ(cache.n_free(), 2);
  cache.release(second);
  EXPECT_EQ(cache.n_free(), 4);
}

TEST(PrefixCache, ClearForgetsButFreesNothingInUse) {
  PrefixCache cache(4, true);
  const auto tokens = tokens_from(0, 32);
  auto blocks = fill(cache, tokens);
  cache.clear();
  EXPECT_TRUE(cache.acquire(tokens, "").empty());
  EXPECT_EQ(cache.n_free(), 2);
  const int32_t next = cache.allocate();
  EXPECT_EQ(cache.insert(blocks[1], tokens_from(32, 16), "", next), next);  // its parent is forgotten
  blocks.push_back(next);
  cache.release(blocks);
  EXPECT_EQ(cache.n_free(), 4);
}

TEST(PrefixCache, DisabledFindsNothing) {
  PrefixCache cache(4, false);
  const auto tokens = tokens_from(0, 32);
  cache.release(fill(cache, tokens));
  EXPECT_TRUE(cache.acquire(tokens, "").empty());
}

TEST(PrefixCache, fault_114_salts_share_nothing) {
  PrefixCache cache(8, true);
  const auto tokens = tokens_from(0, 32);
  const auto mine = fill(cache, tokens, "mine");
  EXPECT_TRUE(cache.acquire(tokens, "").empty());
  EXPECT_TRUE(cache.acquire(tokens, "yours").empty());
  const auto yours = fill(cache, tokens, "yours");
  EXPECT_NE(mine, yours);
  EXPECT_EQ(cache.acquire(tokens, "mine"), mine);
  EXPECT_EQ(cache.acquire(tokens, "yours"), yours);
}

/// Random traffic against a model that remembers what every block holds.
TEST(PrefixCache, fault_114_never_lends_a_block_of_other_tokens) {
  PrefixCache cache(12, true);
  std::map<int32_t, std::vector<int32_t>> content;  // whole prefix up to the block's end
  std::vector<std::vector<int32_t>> in_use;
  std::mt19937 random(7);
  for (int round = 0; round < 5000; ++round) {
    if (!in_use.empty() && (in_use.size() > 3 || random() % 3 == 0)) {
      const size_t i = random() % in_use.size();
      cache.release(in_use[i]);
      in_use.erase(in_use.begin() + static_cast<ptrdiff_t>(i));
      continue;
    }
    std::vector<int32_t> tokens;
    for (uint32_t block = 0; block < 1 + random() % 3; ++block)
      tokens.insert(tokens.end(), kKvBlockTokens, random() % 2);
    std::vector<int32_t> blocks = cache.acquire(tokens, "");
    for (size_t i = 0; i < blocks.size(); ++i) {
      const std::vector<int32_t> prefix(tokens.begin(),
                                        tokens.begin() + static_cast<ptrdiff_t>((i + 1) * kKvBlockTokens));
      ASSERT_EQ(content[blocks[i]], prefix);
    }
    while (blocks.size() * kKvBlockTokens < tokens.size() && cache.n_free() > 0) {
      const auto begin = static_cast<ptrdiff_t>(blocks.size() * kKvBlockTokens);
      const int32_t fresh = cache.allocate();
      content[fresh].assign(tokens.begin(), tokens.begin() + begin + kKvBlockTokens);
      blocks.push_back(cache.insert(blocks.empty() ? -1 : blocks.back(),
                                    std::span(tokens).subspan(static_cast<size_t>(begin), kKvBlockTokens), "", fresh));
    }
    in_use.push_back(blocks);
  }
  for (const auto& blocks : in_use) cache.release(blocks);
  EXPECT_EQ(cache.n_free(), 12);
}

}  // namespace
}  // namespace packhorse
