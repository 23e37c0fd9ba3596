#include "engine/chunk_sizer.h"

#include <gtest/gtest.h>

namespace packhorse {
namespace {

constexpr int64_t kMax = 2048;

/// A machine on which a step takes `fixed` seconds for each sequence that generates, `each` for a prompt token, and
/// `once` where there are such.
struct Machine {
  double fixed = 1e-3, each = 1e-4, once = 0;
  double seconds(int64_t n_decodes, int64_t n_prefill) const {
    return fixed * static_cast<double>(n_decodes) + each * static_cast<double>(n_prefill) + (n_prefill > 0 ? once : 0);
  }
};

struct Course {
  double longest = 0, total = 0;  // of steps with prompt tokens; of all
  int64_t n_steps = 0;
};

/// Steps until a prompt of n_prompt tokens is computed beside n_decodes sequences.
Course compute_prompt(ChunkSizer& sizer, const Machine& machine, int64_t n_decodes, int64_t n_prompt) {
  Course run;
  for (; n_prompt > 0; ++run.n_steps) {
    const int64_t n = std::min(sizer.budget(n_decodes, kMax), n_prompt);
    const double seconds = machine.seconds(n_decodes, n);
    sizer.observe(n_decodes, n, seconds);
    run.longest = std::max(run.longest, seconds);
    run.total += seconds;
    n_prompt -= n;
  }
  return run;
}

TEST(ChunkSizer, NothingIsHeldUpWhereNothingGenerates) {
  ChunkSizer sizer;
  EXPECT_EQ(sizer.budget(0, kMax), kMax);
  sizer.observe(0, kMax, 100);
  EXPECT_EQ(sizer.budget(0, kMax), kMax);
}

TEST(ChunkSizer, APromptStretchesStepsByLessThanTwoAndIsNotStarved) {
  for (const Machine& machine :
       {Machine{1e-3, 1e-4}, Machine{1e-2, 1e-3}, Machine{1e-3, 1e-5}, Machine{1e-3, 1e-4, 3e-3}}) {
    ChunkSizer sizer;
    compute_prompt(sizer, machine, 8, 20000);  // learns
    const Course run = compute_prompt(sizer, machine, 8, 20000);
    EXPECT_LT(run.longest, 2 * machine.seconds(8, 0));
    const double alone = machine.each * 20000;
    EXPECT_LT(run.total, (machine.once > 0 ? 4.5 : 3) * alone);
  }
}

TEST(ChunkSizer, FollowsAChangeOfSpeed) {
  ChunkSizer sizer;
  compute_prompt(sizer, {1e-3, 1e-4}, 8, 5000);
  const Machine slower{1e-3, 4e-4};
  compute_prompt(sizer, slower, 8, 2000);
  EXPECT_LT(compute_prompt(sizer, slower, 8, 1000).longest, 2 * slower.seconds(8, 0));
}

TEST(ChunkSizer, MeasuresAnewWhenAnotherCrowdGenerates) {
  ChunkSizer sizer;
  compute_prompt(sizer, {}, 8, 2000);
  EXPECT_EQ(sizer.budget(32, kMax), 0);
  sizer.observe(32, 0, Machine{}.seconds(32, 0));
  EXPECT_GT(sizer.budget(32, kMax), sizer.budget(30, kMax) - 1);
}

TEST(ChunkSizer, AChunkThatCostsNothingGrowsByDegrees) {
  ChunkSizer sizer;
  sizer.observe(4, 0, 0.01);
  const int64_t first = sizer.budget(4, kMax);
  sizer.observe(4, first, 0.009);  // noise: faster than without
  EXPECT_GT(sizer.budget(4, kMax), first);
  EXPECT_LE(sizer.budget(4, kMax), 2 * first);
}

TEST(ChunkSizer, TheRestOfAPromptSaysNothingAboutTheNextOne) {
  ChunkSizer sizer;
  compute_prompt(sizer, {}, 8, 2000);
  sizer.observe(8, 0, Machine{}.seconds(8, 0));
  const int64_t before = sizer.budget(8, kMax);
  sizer.observe(8, 1, Machine{}.seconds(8, 1));
  EXPECT_EQ(sizer.budget(8, kMax), before);
}

TEST(ChunkSizer, NoPromptStarvesWhereOneTokenAlreadyCostsTooMuch) {
  ChunkSizer sizer;
  for (int i = 0; i < 100; ++i) {
    const int64_t n = sizer.budget(8, kMax);
    sizer.observe(8, n, n > 0 ? 0.05 : 0.01);
  }
  sizer.observe(8, 0, 0.01);
  EXPECT_EQ(sizer.budget(8, kMax), 16);
}

}  // namespace
}  // namespace packhorse
