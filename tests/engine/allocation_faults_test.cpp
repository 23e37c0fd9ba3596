// Row 102 of the fault catalogue: memory runs out at one allocation after the other, once and for good, while requests
// run. Each of them ends, those that did not fail with the tokens that they would have had, and the engine goes on.

#include <cstdlib>
#include <future>
#include <new>

#include "engine/engine_testing.h"
#include "engine/fake_model.h"

namespace {

// Of the thread: allocations until one fails, and how many fail from there on.
thread_local int64_t n_before_failure = -1, n_failures = 0;

bool fails_now() {
  if (n_before_failure < 0 || n_before_failure-- > 0) return false;
  if (--n_failures > 0) n_before_failure = 0;
  return true;
}

}  // namespace

// Not inlined: GCC takes an inlined pair for a mismatch of `new` and `free`.
[[gnu::noinline]] void* operator new(size_t n_bytes) {
  void* const memory = fails_now() ? nullptr : std::malloc(n_bytes ? n_bytes : 1);
  if (!memory) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void* operator new(size_t n_bytes, const std::nothrow_t&) noexcept {
  return fails_now() ? nullptr : std::malloc(n_bytes ? n_bytes : 1);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

namespace packhorse {
namespace {

using testing::expected_greedy;
using testing::FakeEngine;
using testing::greedy;
using testing::test_prompt;

/// Lets the allocations after the next `n_before` ones fail, on this thread.
void fail_allocations(int64_t n_before, int64_t n) {
  n_before_failure = n_before;
  n_failures = n;
}
/// Whether any of the `n` did.
bool stop_failing(int64_t n) {
  n_before_failure = -1;
  return n_failures < n;
}

constexpr int64_t kBlocks = 5;  // two requests at a time need six in the end

/// What became of three requests, of which the last one waits at first, when allocation `k` and `n - 1` more fail.
/// False when there is no allocation `k`.
bool run_with_failure(int64_t k, int64_t n) {
  FakeEngine engine(kBlocks, {.max_num_seqs = 2, .max_num_batched_tokens = 40});
  SamplingParams streamed = greedy(8), whole = streamed;
  streamed.output_kind = OutputKind::delta;
  whole.output_kind = OutputKind::final_only;
  streamed.logprobs = 2;
  std::map<uint64_t, std::vector<int32_t>> expected, got;
  std::map<uint64_t, std::string> reasons;
  std::vector<Prompt> prompts;
  for (int32_t i = 0; i < 3; ++i) {
    const std::vector<int32_t> tokens = test_prompt(30, i);
    prompts.push_back(
        {.token_ids = std::vector<int64_t>(tokens.begin(), tokens.end()), .cache_salt = "a long salt of its own"});
  }
  std::vector<std::unique_ptr<Request>> requests;
  for (int32_t i = 0; i < 3; ++i) {
    requests.push_back(engine.core.make(prompts[static_cast<size_t>(i)], i == 1 ? whole : streamed));
    expected[requests.back()->id] = expected_greedy(test_prompt(30, i), 8);
  }
  const auto add = [&](std::unique_ptr<Request> request) {
    const uint64_t id = request->id;
    try {
      engine.core.add(std::move(request));
    } catch (const std::bad_alloc&) {
      reasons[id] = "refused";
    }
  };
  for (auto& request : requests) reasons[request->id];
  fail_allocations(k, n);
  for (auto& request : requests) add(std::move(request));
  for (int step = 0; engine.core.has_unfinished(); ++step) {
    if (step == 1000) throw std::runtime_error("the engine makes no progress");
    std::vector<RequestOutput> outputs;
    try {
      outputs = engine.core.step();
    } catch (const std::bad_alloc&) {
      continue;
    }
    const int64_t paused = std::exchange(n_before_failure, -1);  // the test's own memory is not meant
    for (const RequestOutput& output : outputs) {
      for (const CompletionOutput& one : output.outputs) {
        auto& tokens = got[output.request_id];
        tokens.insert(tokens.end(), one.token_ids.begin(), one.token_ids.end());
        if (one.finished()) reasons[output.request_id] = one.finish_reason;
      }
    }
    n_before_failure = paused;
  }
  const bool failed = stop_failing(n);
  for (const auto& [id, reason] : reasons) {
    if (reason == "length") {
      EXPECT_EQ(got.at(id), expected.at(id));
    } else {
      EXPECT_TRUE(reason == "error" || reason == "refused") << "'" << reason << "'";
    }
  }
  EXPECT_EQ(engine.core.stats().n_free_blocks, kBlocks) << "blocks leaked";
  EXPECT_EQ(engine.core.stats().n_running + engine.core.stats().n_waiting, 0);
  EXPECT_EQ(engine.run(test_prompt(30, 1), greedy(5)).outputs.at(0).token_ids, expected_greedy(test_prompt(30, 1), 5));
  return failed;
}

TEST(AllocationFaults, fault_102_each_allocation_of_the_core) {
  for (const int64_t n : {1, 3, 40}) {
    int64_t k = 0;
    while (run_with_failure(k, n) && !HasFailure()) ++k;
    EXPECT_GT(k, 100);
    SCOPED_TRACE(k);
    ASSERT_FALSE(HasFailure()) << "allocation " << k << ", " << n << " of them";
  }
}

EngineOptions small_options() { return testing::tiny_options(64, 1, 16); }

/// How a request ends: its reason, or that there was no room for it.
std::string reason_of(AsyncEngine& engine, const std::string& text) {
  SamplingParams params = greedy(3);
  params.ignore_eos = true;
  std::promise<std::string> end;
  engine.add({.text = text}, params, [&](RequestOutput&& output) {
    if (output.finished) end.set_value(output.outputs.at(0).finish_reason);
  });
  return end.get_future().get();
}

/// Request after request lets a later allocation of the engine's thread fail.
TEST(AllocationFaults, fault_102_each_allocation_of_the_engines_thread) {
  AsyncEngine engine(small_options());
  int n_errors = 0, n_ends = 0;
  std::atomic<int64_t> k{-1};
  engine.on_step([&](const EngineStats&) {
    if (const int64_t next = k.exchange(-1); next >= 0) fail_allocations(next, 1);
  });
  for (int64_t i = 0; i < 150; ++i) {
    k = i;
    const std::string reason = reason_of(engine, "meanwhile");
    EXPECT_TRUE(reason == "error" || reason == "length") << i << ": " << reason;
    ++(reason == "error" ? n_errors : n_ends);
    k = INT64_MAX;
    reason_of(engine, "the last one that may fail");
    EXPECT_EQ(reason_of(engine, "after"), "length") << i;
  }
  EXPECT_GT(n_errors, 5);
  EXPECT_GT(n_ends, 5);
  EXPECT_FALSE(engine.failure());
  EXPECT_EQ(engine.stats().n_free_blocks, engine.stats().n_blocks);
}

/// Memory is gone for good on the engine's thread: everybody hears of it.
TEST(AllocationFaults, fault_102_an_engine_without_memory_gives_up_aloud) {
  AsyncEngine engine(small_options());
  engine.on_step([](const EngineStats&) { fail_allocations(0, INT64_MAX); });
  EXPECT_EQ(reason_of(engine, "the first one"), "error");
  while (!engine.failure()) {
    try {
      EXPECT_EQ(reason_of(engine, "another one"), "error");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::resource);
    }
  }
  EXPECT_EQ(*engine.failure(), "std::bad_alloc");
  EXPECT_THROW(reason_of(engine, "too late"), Error);
}

}  // namespace
}  // namespace packhorse
