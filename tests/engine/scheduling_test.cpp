// Batching, chunking, preemption, reuse and abort must not show in what a request gets.

#include <random>
#include <set>

#include "engine/fake_model.h"

namespace packhorse {
namespace {

using testing::expected_greedy;
using testing::FakeEngine;
using testing::greedy;
using testing::test_prompt;

TEST(Scheduling, OneRequestGetsTheModelsTokens) {
  FakeEngine engine;
  const RequestOutput output = engine.run(test_prompt(21), greedy(40));
  EXPECT_EQ(output.outputs.at(0).token_ids, expected_greedy(test_prompt(21), 40));
  EXPECT_EQ(output.outputs[0].finish_reason, "length");
  EXPECT_EQ(output.prompt_token_ids, test_prompt(21));
  EXPECT_TRUE(output.finished);
  EXPECT_GE(output.metrics.first_scheduled, output.metrics.arrival);
  EXPECT_GE(output.metrics.last_token, output.metrics.first_token);
}

TEST(Scheduling, BatchedRequestsGetWhatTheyGetAlone) {
  FakeEngine engine(256, {.max_num_seqs = 5, .max_num_batched_tokens = 37});
  std::map<uint64_t, std::vector<int32_t>> expected;
  for (int32_t i = 0; i < 20; ++i) {
    const auto prompt = test_prompt(1 + i * 5, i);
    expected[engine.add(prompt, greedy(3 + i % 7))] = expected_greedy(prompt, 3 + i % 7);
    if (i % 3 == 0) engine.core.step();  // some join a running batch
  }
  for (const auto& [id, output] : engine.finish()) EXPECT_EQ(output.outputs.at(0).token_ids, expected.at(id)) << id;
}

TEST(Scheduling, ChunkedPrefillEqualsWhole) {
  for (const int64_t budget : {1, 7, 16, 33, 2048}) {
    FakeEngine engine(64, {.max_num_batched_tokens = budget});
    EXPECT_EQ(engine.run(test_prompt(100), greedy(5)).outputs[0].token_ids, expected_greedy(test_prompt(100), 5));
    EXPECT_GE(engine.model.n_calls, 100 / budget);
  }
}

TEST(Scheduling, fault_094_full_pool_preempts_the_newest_without_a_trace) {
  FakeEngine engine(40, {.max_num_seqs = 64});
  std::map<uint64_t, std::vector<int32_t>> expected, streamed;
  SamplingParams params = greedy(70);
  params.output_kind = OutputKind::delta;
  for (int32_t i = 0; i < 64; ++i) {
    expected[engine.add(test_prompt(5 + i % 9, i), params)] = expected_greedy(test_prompt(5 + i % 9, i), 70);
  }
  std::vector<uint64_t> order;
  while (engine.core.has_unfinished()) {
    for (const RequestOutput& output : engine.core.step()) {
      auto& tokens = streamed[output.request_id];
      for (const auto& part : output.outputs) tokens.insert(tokens.end(), part.token_ids.begin(), part.token_ids.end());
      if (output.finished) order.push_back(output.request_id);
    }
  }
  EXPECT_EQ(streamed, expected);
  EXPECT_GT(engine.core.stats().n_preemptions, 0);
  EXPECT_EQ(engine.core.stats().n_free_blocks, 40);
  EXPECT_EQ(order.front(), 1u);
}

TEST(Scheduling, fault_095_what_can_never_fit_is_refused) {
  FakeEngine engine(4, {.max_model_len = 1000});
  const auto message = [&](int64_t n_prompt, std::optional<int64_t> max_tokens) -> std::string {
    SamplingParams params = greedy(1);
    params.max_tokens = max_tokens;
    try {
      engine.add(test_prompt(n_prompt), params);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::request);
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(message(65, 1), "prompt: 65 tokens and max_tokens=1 never fit the KV cache (got 66, limit 65)");
  EXPECT_EQ(message(30, 36), "prompt: 30 tokens and max_tokens=36 never fit the KV cache (got 66, limit 65)");
  EXPECT_EQ(
      message(1000, 1),
      "prompt: 1000 tokens plus at least 1 output token are more than the maximum model length (got 1001, limit 1000)");
  EXPECT_FALSE(engine.core.has_unfinished());

  EXPECT_EQ(message(64, 1), "");  // just fits
  EXPECT_EQ(message(30, 35), "");
  EXPECT_EQ(message(30, std::nullopt), "");  // as far as there is room
  const auto outputs = engine.finish();
  EXPECT_EQ(outputs.at(2).outputs[0].token_ids, expected_greedy(test_prompt(30), 35));
  EXPECT_EQ(outputs.at(3).outputs[0].token_ids, expected_greedy(test_prompt(30), 35));
}

TEST(Scheduling, StopsAtTheContext) {
  FakeEngine engine(64, {.max_model_len = 30});
  SamplingParams params = greedy(100);
  const RequestOutput output = engine.run(test_prompt(20), params);
  EXPECT_EQ(output.outputs[0].token_ids, expected_greedy(test_prompt(20), 10));
  EXPECT_EQ(output.outputs[0].finish_reason, "length");
}

TEST(Scheduling, PrefixHitGivesTheSameTokensForLessWork) {
  FakeEngine engine;
  const auto prompt = test_prompt(48);
  const RequestOutput cold = engine.run(prompt, greedy(4));
  const int64_t n_cold = engine.model.n_tokens;
  EXPECT_EQ(cold.num_cached_tokens, 0);
  const RequestOutput warm = engine.run(prompt, greedy(4));
  EXPECT_EQ(warm.num_cached_tokens, 32);  // never the whole prompt
  EXPECT_EQ(engine.model.n_tokens - n_cold, n_cold - 32);
  EXPECT_EQ(warm.outputs[0].token_ids, cold.outputs[0].token_ids);

  auto longer = prompt;  // a conversation that goes on: the answer's blocks are known too
  longer.insert(longer.end(), warm.outputs[0].token_ids.begin(), warm.outputs[0].token_ids.end());
  for (const int32_t token : test_prompt(20, 3)) longer.push_back(token);
  const RequestOutput next = engine.run(longer, greedy(4));
  EXPECT_EQ(next.num_cached_tokens, 48);
  EXPECT_EQ(next.outputs[0].token_ids, expected_greedy(longer, 4));

  engine.core.reset_prefix_cache();
  EXPECT_EQ(engine.run(prompt, greedy(4)).num_cached_tokens, 0);
}

TEST(Scheduling, fault_114_no_reuse_across_salts) {
  FakeEngine engine;
  engine.run(test_prompt(64), greedy(2), "one tenant");
  EXPECT_EQ(engine.run(test_prompt(64), greedy(2), "another").num_cached_tokens, 0);
  EXPECT_EQ(engine.run(test_prompt(64), greedy(2)).num_cached_tokens, 0);
  EXPECT_EQ(engine.run(test_prompt(64), greedy(2), "another").num_cached_tokens, 48);
}

TEST(Scheduling, PrefixCacheCanBeOff) {
  FakeEngine engine(64, {.enable_prefix_caching = false});
  engine.run(test_prompt(64), greedy(2));
  EXPECT_EQ(engine.run(test_prompt(64), greedy(2)).num_cached_tokens, 0);
}

TEST(Scheduling, AbortFreesBlocksAtAnyTime) {
  FakeEngine engine(16, {.max_num_seqs = 2, .max_num_batched_tokens = 16});
  const uint64_t decoding = engine.add(test_prompt(10, 1), greedy(50));
  engine.core.step();
  const uint64_t prefilling = engine.add(test_prompt(60, 2), greedy(50));
  const uint64_t waiting = engine.add(test_prompt(10, 3), greedy(3));
  engine.core.step();
  for (const uint64_t id : {decoding, prefilling, waiting}) engine.core.abort(id);
  engine.core.abort(999);
  EXPECT_EQ(engine.core.stats().n_free_blocks, 16);
  EXPECT_TRUE(engine.core.has_unfinished());
  const auto outputs = engine.core.step();
  ASSERT_EQ(outputs.size(), 3u);
  for (const RequestOutput& output : outputs) {
    EXPECT_TRUE(output.finished);
    EXPECT_EQ(output.outputs.at(0).finish_reason, "abort");
  }
  EXPECT_EQ(outputs[0].outputs[0].token_ids, expected_greedy(test_prompt(10, 1), 2));
  EXPECT_FALSE(engine.core.has_unfinished());
  EXPECT_EQ(engine.run(test_prompt(60, 2), greedy(5)).outputs[0].token_ids, expected_greedy(test_prompt(60, 2), 5));
}

TEST(Scheduling, fault_097_an_abort_touches_nobody_else) {
  FakeEngine engine(64, {.max_num_batched_tokens = 20});
  const uint64_t first = engine.add(test_prompt(40, 1), greedy(20));
  const uint64_t second = engine.add(test_prompt(40, 1), greedy(30));
  const uint64_t third = engine.add(test_prompt(33, 2), greedy(20));
  for (int i = 0; i < 6; ++i) engine.core.step();
  engine.core.abort(second);
  const auto outputs = engine.finish();
  EXPECT_EQ(outputs.at(first).outputs[0].token_ids, expected_greedy(test_prompt(40, 1), 20));
  EXPECT_EQ(outputs.at(second).outputs[0].finish_reason, "abort");
  EXPECT_EQ(outputs.at(third).outputs[0].token_ids, expected_greedy(test_prompt(33, 2), 20));
}

TEST(Scheduling, PriorityGoesBeforeAge) {
  FakeEngine engine(64, {.max_num_seqs = 1, .by_priority = true});
  const auto add = [&](int64_t priority) {
    Prompt prompt;
    prompt.token_ids.emplace(10, 5 + priority);
    prompt.priority = priority;
    return engine.core.add(prompt, greedy(3));
  };
  const uint64_t third = add(0), first = add(-2), second = add(-1), fourth = add(7);
  std::vector<uint64_t> order;
  while (engine.core.has_unfinished()) {
    for (const RequestOutput& output : engine.core.step()) {
      if (output.finished) order.push_back(output.request_id);
    }
  }
  EXPECT_EQ(order, (std::vector{first, second, third, fourth}));
}

TEST(Scheduling, APromptTakesTurnsWithThoseThatGenerate) {
  EngineLimits limits{.max_model_len = 4096, .time_chunks = true};
  testing::FakeModel model;
  ThreadPool pool{1};
  KvPool kv(model.cache_specs(), 512);
  EngineCore core(model, kv, pool, nullptr, limits);
  const auto add = [&](const std::vector<int32_t>& tokens, int64_t n) {
    return core.add({.token_ids = std::vector<int64_t>(tokens.begin(), tokens.end())}, greedy(n));
  };
  const uint64_t generating = add(test_prompt(10, 1), 400);
  for (int i = 0; i < 5; ++i) core.step();
  const uint64_t prompt = add(test_prompt(2000, 2), 3);
  std::map<uint64_t, RequestOutput> last;
  int64_t n_beside = 0;  // tokens that came while the prompt was computed
  while (core.has_unfinished()) {
    for (RequestOutput& output : core.step()) {
      n_beside += output.request_id == generating && !last.contains(prompt);
      last[output.request_id] = std::move(output);
    }
  }
  EXPECT_GT(n_beside, 2);
  EXPECT_EQ(last.at(generating).outputs[0].token_ids, expected_greedy(test_prompt(10, 1), 400));
  EXPECT_EQ(last.at(prompt).outputs[0].token_ids, expected_greedy(test_prompt(2000, 2), 3));
}

TEST(Scheduling, fault_093_nan_ends_one_request) {
  std::vector<std::string> log;
  FakeEngine engine(64, {.log = [&](std::string_view line) { log.emplace_back(line); }});
  engine.model.poison_token = 95;
  const uint64_t good = engine.add(test_prompt(20, 1), greedy(10));
  auto bad_prompt = test_prompt(20, 2);
  bad_prompt[7] = 95;
  const uint64_t bad = engine.add(bad_prompt, greedy(10));
  const auto outputs = engine.finish();
  EXPECT_EQ(outputs.at(bad).outputs[0].finish_reason, "error");
  EXPECT_EQ(outputs.at(good).outputs[0].token_ids, expected_greedy(test_prompt(20, 1), 10));
  EXPECT_EQ(log, std::vector<std::string>{"request 2: position 20: the model's logits are not finite"});
}

TEST(Scheduling, fault_100_a_failing_step_leaves_a_working_engine) {
  FakeEngine engine(16, {.max_num_seqs = 1});
  const uint64_t running = engine.add(test_prompt(20, 1), greedy(10));
  const uint64_t waiting = engine.add(test_prompt(20, 2), greedy(10));
  engine.model.throws_on_call = 3;
  engine.core.step();
  engine.core.step();
  EXPECT_THROW(engine.core.step(), std::runtime_error);
  const auto outputs = engine.finish();
  EXPECT_EQ(outputs.at(running).outputs[0].finish_reason, "error");
  EXPECT_EQ(outputs.at(running).outputs[0].token_ids, expected_greedy(test_prompt(20, 1), 2));
  EXPECT_EQ(outputs.at(waiting).outputs[0].token_ids, expected_greedy(test_prompt(20, 2), 10));
}

TEST(Scheduling, fault_115_blocks_are_written_before_they_are_read) {
  FakeEngine engine(8);  // poisoned, and the fake model reads every position back
  for (int32_t i = 0; i < 30; ++i) {
    const auto prompt = test_prompt(3 + i * 3, i);
    EXPECT_EQ(engine.run(prompt, greedy(6)).outputs[0].token_ids, expected_greedy(prompt, 6));
  }
}

/// A request with everything random about the batch around it.
TEST(Scheduling, fault_113_one_output_whatever_the_batch) {
  std::set<std::vector<int32_t>> unique;
  std::mt19937 random(3);
  for (int round = 0; round < 60; ++round) {
    FakeEngine engine(24 + static_cast<int64_t>(random() % 40),
                      {.max_num_seqs = 1 + static_cast<int64_t>(random() % 16),
                       .max_num_batched_tokens = 1 + static_cast<int64_t>(random() % 64)});
    SamplingParams params;
    params.seed = 11;
    params.max_tokens = 40;
    uint64_t mine = 0;
    for (int32_t i = 0; i < 20; ++i) {
      if (i == round % 20) mine = engine.add(test_prompt(35), params);
      engine.add(test_prompt(random() % 2 ? 35 : 5 + static_cast<int64_t>(random() % 60), random() % 2 ? 1 : i),
                 greedy(30));
      if (random() % 4 == 0) engine.core.step();
    }
    unique.insert(engine.finish().at(mine).outputs[0].token_ids);
  }
  EXPECT_EQ(unique.size(), 1u);
}

}  // namespace
}  // namespace packhorse
