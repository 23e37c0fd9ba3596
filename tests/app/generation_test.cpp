// The prompts of a request in a real engine: one end whatever happens, and nothing after it.
#include "app/server/api/generation.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "app/server_testing.h"

namespace packhorse::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::RecordingReply;
using testing::refusal;
using testing::SmallServer;

GenerationJob job(std::vector<int64_t> ids, int64_t max_tokens = 4) {
  GenerationJob out;
  out.prompt.token_ids = std::move(ids);
  out.params.temperature = 0;
  out.params.max_tokens = max_tokens;
  out.params.ignore_eos = true;
  out.params.output_kind = OutputKind::delta;
  return out;
}

/// What the events were, and whether two ever overlapped or one came after the end.
struct Story {
  std::atomic<int> n_inside{0}, n_ends{0}, n_wrong{0}, n_outputs{0}, n_starts{0};
  std::vector<int64_t> n_tokens = std::vector<int64_t>(8);
  Usage usage;
  std::string error;
  std::function<void()> during_output, during_start;
  std::shared_ptr<RecordingReply> reply = std::make_shared<RecordingReply>();

  GenerationEvents events() {
    return {.on_start =
                [this] {
                  n_wrong += n_outputs > 0;
                  ++n_starts;
                  if (during_start) during_start();
                },
            .on_output =
                [this](size_t index, RequestOutput&& output) {
                  enter();
                  ++n_outputs;
                  for (const CompletionOutput& one : output.outputs) n_tokens[index] += std::ssize(one.token_ids);
                  if (during_output) during_output();
                  --n_inside;
                },
            .on_end =
                [this](const Usage& counted) {
                  enter();
                  usage = counted;
                  ++n_ends;
                  --n_inside;
                  reply->end();
                },
            .on_error =
                [this](const std::exception_ptr& failure) {
                  error = error_body(describe_error(failure));
                  ++n_ends;
                  reply->end();
                }};
  }
  void enter() { n_wrong += ++n_inside != 1 || n_ends > 0; }
};

class GenerationTest : public ::testing::Test {
 protected:
  void start(Story& story, std::vector<GenerationJob> jobs) {
    start_generation(server_.context, nullptr, story.reply, std::move(jobs), story.events());
  }
  /// All that the requests held is given back.
  void expect_idle() {
    for (int i = 0; i < 1000 && !is_idle(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(server_.context.n_prompts, 0);
    const EngineStats stats = server_.engine->stats();
    EXPECT_EQ(stats.n_running + stats.n_waiting, 0);
    EXPECT_EQ(stats.n_free_blocks, stats.n_blocks);
  }
  bool is_idle() {
    const EngineStats stats = server_.engine->stats();
    return server_.context.n_prompts == 0 && stats.n_running + stats.n_waiting == 0;
  }

  SmallServer server_;
};

TEST_F(GenerationTest, prompts_end_together_and_are_counted) {
  Story story;
  GenerationJob two = job({5, 6}, 3);
  two.params.temperature = 1;
  two.params.n = 2;
  start(story, {job({3, 4, 5}), two, job({7}, 6)});
  ASSERT_TRUE(story.reply->wait());
  EXPECT_EQ(story.n_starts, 1);
  EXPECT_EQ(story.n_ends, 1);
  EXPECT_EQ(story.n_wrong, 0);
  EXPECT_THAT(std::vector(story.n_tokens.begin(), story.n_tokens.begin() + 3), ElementsAre(4, 6, 6));
  EXPECT_EQ(story.usage.prompt_tokens, 6);
  EXPECT_EQ(story.usage.completion_tokens, 16);
  EXPECT_EQ(story.error, "");
  expect_idle();
}

TEST_F(GenerationTest, outputs_wait_until_all_prompts_are_accepted) {
  Story story;
  std::vector<GenerationJob> jobs;
  for (int64_t i = 0; i < 8; ++i) jobs.push_back(job({3 + i, 5, 9}, 20));
  story.during_start = [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the engine is at work meanwhile
    EXPECT_EQ(story.n_outputs, 0);
  };
  start(story, std::move(jobs));
  ASSERT_TRUE(story.reply->wait());
  EXPECT_EQ(story.n_wrong, 0);
  EXPECT_THAT(story.n_tokens, ::testing::Each(20));
  expect_idle();
}

TEST_F(GenerationTest, one_bad_prompt_refuses_all_of_them) {
  Story story;
  const HttpError error = refusal([&] { start(story, {job({3, 4}, 50), job({5}), job({int64_t{1} << 40})}); });
  EXPECT_EQ(error.status, 400);
  EXPECT_EQ(error.param, "prompt");
  expect_idle();
  EXPECT_EQ(story.n_starts + story.n_outputs + story.n_ends, 0);
}

TEST_F(GenerationTest, a_client_that_leaves_ends_everything) {
  Story story;
  std::atomic<bool> may_leave{false};
  story.during_output = [&] { may_leave = true; };
  start(story, {job({3, 4}, 100), job({5, 6}, 100)});
  while (!may_leave) std::this_thread::yield();
  story.reply->leave();
  expect_idle();
  EXPECT_EQ(story.n_ends, 0);
  EXPECT_LT(story.n_tokens[0], 100);
  story.reply->leave();  // once more does nothing
}

TEST_F(GenerationTest, an_event_that_throws_is_an_error_once) {
  Story story;
  story.during_output = [] { throw std::runtime_error("boom"); };
  start(story, {job({3, 4}, 100), job({5, 6}, 100)});
  ASSERT_TRUE(story.reply->wait());
  expect_idle();
  EXPECT_EQ(story.n_ends, 1);
  EXPECT_THAT(story.error, HasSubstr("internal error"));

  Story early;
  early.during_start = [] { throw HttpError(409, "no"); };
  start(early, {job({3, 4}, 100)});
  expect_idle();
  EXPECT_EQ(early.n_ends, 1);
  EXPECT_EQ(early.n_outputs, 0);
  EXPECT_THAT(early.error, HasSubstr("\"code\":409"));
}

TEST_F(GenerationTest, an_engine_that_stops_ends_streams_with_an_error) {
  Story story;
  std::atomic<bool> has_begun{false};
  story.during_output = [&] { has_begun = true; };
  start(story, {job({3, 4}, 120), job({5, 6}, 120)});
  while (!has_begun) std::this_thread::yield();
  server_.engine->abort_all();
  ASSERT_TRUE(story.reply->wait());
  EXPECT_THAT(story.error, HasSubstr("\"code\":503"));
  EXPECT_EQ(story.n_ends, 1);
  expect_idle();
}

TEST_F(GenerationTest, fault_096_a_full_queue_refuses_at_once) {
  server_.context.options.max_queue = 3;  // and 4 run
  require_room(server_.context, 7);
  const HttpError many = refusal([&] { require_room(server_.context, 8); });
  EXPECT_EQ(many.status, 503);
  ASSERT_EQ(many.headers.size(), 1u);
  EXPECT_EQ(many.headers[0].first, "Retry-After");
  server_.context.n_prompts = 7;
  EXPECT_EQ(refusal([&] { require_room(server_.context, 1); }).status, 503);
  server_.context.n_prompts = 6;
  require_room(server_.context, 1);
  server_.context.n_prompts = 0;
}

TEST_F(GenerationTest, many_threads_come_and_go) {
  std::atomic<int> n_wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i) {
        auto story = std::make_shared<Story>();
        GenerationEvents events = story->events();
        const auto on_output = events.on_output;
        events.on_output = [story, on_output](size_t index, RequestOutput&& output) {
          on_output(index, std::move(output));
        };
        start_generation(server_.context, nullptr, story->reply, {job({3 + t, 4 + i}, 1 + i % 7), job({9, 3 + t}, 3)},
                         std::move(events));
        if (i % 3 == 0) story->reply->leave();
        if (i % 3 != 0 && !story->reply->wait()) ++n_wrong;
        n_wrong += story->n_wrong + (story->n_ends > 1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(n_wrong, 0);
  expect_idle();
}

TEST_F(GenerationTest, a_request_that_is_the_cause_of_its_failure_is_told_so) {
  Story story;
  GenerationJob refused = job({5, 6});
  refused.params.structured_outputs.emplace().choice = {"yes"};
  refused.params.allowed_token_ids = {server_.engine->engine().tokenize("7", false).back()};
  start(story, {refused});
  ASSERT_TRUE(story.reply->wait());
  const Json error = Json::parse(story.error).at("error");
  EXPECT_EQ(error.at("code"), 400);
  EXPECT_EQ(error.at("message"), "the sampling parameters leave no token to choose");
  expect_idle();
}

TEST_F(GenerationTest, the_server_may_leave_no_room_for_spaces_in_json) {
  const auto n_answers = [&](bool is_disabled) {
    server_.context.options.disable_any_whitespace = is_disabled;
    Story story;
    GenerationJob wanted = job({5, 6}, 40);
    wanted.params.ignore_eos = false;
    wanted.params.structured_outputs.emplace().json = R"({"type": "array", "maxItems": 0})";
    wanted.params.logit_bias = {{server_.engine->engine().tokenize(" ", false).back(), 100.0}};
    start(story, {wanted});
    EXPECT_TRUE(story.reply->wait());
    return story.n_tokens[0];
  };
  EXPECT_EQ(n_answers(false), 40);  // spaces only
  EXPECT_LT(n_answers(true), 5);
}

}  // namespace
}  // namespace packhorse::server
