// AsyncEngine over a real small checkpoint: many threads ask at once, leave, and throw.

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include "engine/engine_testing.h"
#include "packhorse/packhorse.h"

namespace packhorse {
namespace {

EngineOptions small_options() { return testing::tiny_options(128, 2, 64); }

Prompt prompt_of(int64_t first, int64_t n = 12) {
  Prompt prompt;
  prompt.token_ids.emplace();
  for (int64_t i = 0; i < n; ++i) prompt.token_ids->push_back((first * 31 + i * 5) % 90 + 3);
  return prompt;
}

SamplingParams tokens(int64_t n, OutputKind kind = OutputKind::final_only) {
  SamplingParams params;
  params.temperature = 0;
  params.max_tokens = n;
  params.ignore_eos = true;
  params.output_kind = kind;
  return params;
}

/// Collects the deltas of one request.
struct Collected {
  std::vector<int32_t> tokens;
  std::promise<std::string> end;  // finish_reason
  AsyncEngine::OnOutput callback() {
    return [this](RequestOutput&& output) {
      for (const CompletionOutput& one : output.outputs)
        tokens.insert(tokens.end(), one.token_ids.begin(), one.token_ids.end());
      if (output.finished) end.set_value(output.outputs.empty() ? "" : output.outputs[0].finish_reason);
    };
  }
};

std::vector<int32_t> alone(Engine& engine, const Prompt& prompt, int64_t n) {
  engine.add(prompt, tokens(n));
  std::vector<int32_t> out;
  while (engine.has_unfinished()) {
    for (const RequestOutput& output : engine.step()) out = output.outputs.at(0).token_ids;
  }
  return out;
}

TEST(AsyncEngine, ManyThreadsGetTheTokensThatEachWouldGetAlone) {
  constexpr int kThreads = 8, kEach = 5;
  AsyncEngine engine(small_options());
  std::vector<std::vector<int32_t>> got(kThreads * kEach);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) {
          Collected one;
          engine.add(prompt_of(t * kEach + i), tokens(9 + i, OutputKind::delta), one.callback());
          EXPECT_EQ(one.end.get_future().get(), "length");
          got[static_cast<size_t>(t * kEach + i)] = one.tokens;
        }
      });
    }
  }
  Engine reference(small_options());
  for (int i = 0; i < kThreads * kEach; ++i) {
    EXPECT_EQ(got[static_cast<size_t>(i)], alone(reference, prompt_of(i), 9 + i % kEach)) << i;
  }
  EXPECT_EQ(engine.stats().n_running, 0);
  EXPECT_EQ(engine.stats().n_free_blocks, engine.stats().n_blocks);
}

TEST(AsyncEngine, WhoIsRefusedIsToldAtOnceAndNeverCalled) {
  AsyncEngine engine(small_options());
  const auto never = [](RequestOutput&&) { ADD_FAILURE(); };
  EXPECT_THROW(engine.add(Prompt{}, tokens(1), never), Error);
  SamplingParams bad = tokens(1);
  bad.top_p = 2;
  EXPECT_THROW(engine.add(prompt_of(1), bad, never), Error);
  Prompt urgent = prompt_of(1);
  urgent.priority = 1;
  EXPECT_THROW(engine.add(urgent, tokens(1), never), Error);
  Collected next;
  engine.add(prompt_of(1), tokens(2), next.callback());
  EXPECT_EQ(next.end.get_future().get(), "length");
}

TEST(AsyncEngine, AnAbortEndsOneRequest) {
  AsyncEngine engine(small_options());
  Collected kept, dropped;
  std::promise<uint64_t> id;
  std::atomic<int> n_outputs{0};
  auto inner = dropped.callback();
  const std::shared_future<uint64_t> dropped_id = id.get_future().share();
  id.set_value(engine.add(prompt_of(1), tokens(100, OutputKind::delta), [&](RequestOutput&& output) {
    inner(std::move(output));
    if (++n_outputs == 3) engine.abort(dropped_id.get());
  }));
  engine.add(prompt_of(2), tokens(40, OutputKind::delta), kept.callback());
  EXPECT_EQ(dropped.end.get_future().get(), "abort");
  EXPECT_LT(dropped.tokens.size(), 100u);
  EXPECT_EQ(kept.end.get_future().get(), "length");
  EXPECT_EQ(kept.tokens.size(), 40u);
  engine.abort(12345);
}

TEST(AsyncEngine, ACallbackThatThrowsEndsItsRequestAlone) {
  AsyncEngine engine(small_options());
  std::atomic<int> n_calls{0};
  engine.add(prompt_of(1), tokens(100, OutputKind::delta), [&](RequestOutput&&) {
    ++n_calls;
    throw std::runtime_error("full");
  });
  Collected kept;
  engine.add(prompt_of(2), tokens(40), kept.callback());
  EXPECT_EQ(kept.end.get_future().get(), "length");
  EXPECT_EQ(n_calls, 1);
  EXPECT_EQ(engine.stats().n_running, 0);
}

TEST(AsyncEngine, ItsEndEndsAllRequests) {
  Collected running, waiting;
  auto first = running.end.get_future(), second = waiting.end.get_future();
  {
    AsyncEngine engine(small_options());
    engine.add(prompt_of(1), tokens(110, OutputKind::delta), running.callback());
    engine.add(prompt_of(2), tokens(110, OutputKind::delta), waiting.callback());
  }
  EXPECT_EQ(first.get(), "abort");
  EXPECT_EQ(second.get(), "abort");
}

TEST(AsyncEngine, WhoAsksAgainWhileItEndsIsRefused) {
  std::string error;
  {
    AsyncEngine engine(small_options());
    engine.add(prompt_of(1), tokens(110), [&](RequestOutput&&) {
      try {
        engine.add(prompt_of(1), tokens(1), [](RequestOutput&&) {});
      } catch (const Error& e) {
        error = e.what();
      }
    });
  }
  EXPECT_EQ(error, "the engine is being closed");
}

TEST(AsyncEngine, StepsAreReported) {
  AsyncEngine engine(small_options());
  std::atomic<int64_t> n_steps{0}, n_generated{0};
  engine.on_step([&](const EngineStats& stats) {
    n_steps = stats.n_steps;
    n_generated = stats.n_generated_tokens;
  });
  Collected one;
  engine.add(prompt_of(1), tokens(7), one.callback());
  one.end.get_future().get();
  engine.on_step({});
  EXPECT_GE(engine.stats().n_steps, 6);
  EXPECT_GE(n_steps, 6);
  EXPECT_GE(n_generated, 6);
}

TEST(AsyncEngine, ChatsAndTextsGoOnWhileItSteps) {
  AsyncEngine engine(small_options());
  Collected one;
  engine.add(prompt_of(1), tokens(100), one.callback());
  const std::vector<int32_t> ids = engine.engine().tokenize("some words");
  for (int i = 0; i < 200; ++i) EXPECT_EQ(engine.engine().tokenize("some words"), ids);
  EXPECT_EQ(one.end.get_future().get(), "length");
}

TEST(AsyncEngine, GivesTheEmbeddingOfARealModel) {
  AsyncEngine engine(small_options());
  std::promise<RequestOutput> done;
  engine.add(prompt_of(3), PoolingParams{}, [&](RequestOutput&& output) { done.set_value(std::move(output)); });
  const RequestOutput output = done.get_future().get();
  ASSERT_TRUE(output.embedding);
  double squares = 0;
  for (const float x : *output.embedding) squares += static_cast<double>(x) * static_cast<double>(x);
  EXPECT_NEAR(squares, 1, 1e-5);
}

}  // namespace
}  // namespace packhorse
