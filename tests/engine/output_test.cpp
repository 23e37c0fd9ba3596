// Texts, ends, log-probabilities and the shapes of outputs.

#include "base/error.h"
#include "engine/fake_model.h"

namespace packhorse {
namespace {

using testing::expected_greedy;
using testing::fake_logits;
using testing::FakeEngine;
using testing::greedy;
using testing::kFakeVocab;
using testing::test_prompt;

constexpr int32_t kEos = 94, kOtherEos = 93;
const std::vector<std::string> kPieces = {"h",  "e",   "l",    "o",  " ",   "w",  "r", "d",
                                          "he", "llo", " wor", "ld", "STO", "OP", "!", "P"};
constexpr int32_t kByteC3 = 16, kByteA9 = 17;  // the two bytes of é

const Tokenizer& tokenizer() {
  static const Tokenizer made = [] {
    Json vocab = Json::object();
    for (size_t i = 0; i < kPieces.size(); ++i) {
      std::string text = kPieces[i];
      if (text[0] == ' ') text.replace(0, 1, "Ġ");
      vocab[text] = i;
    }
    vocab["Ã"] = kByteC3;
    vocab["©"] = kByteA9;
    const auto special = [](int32_t id, const char* text) {
      return Json{{"id", id}, {"content", text}, {"special", true}, {"normalized", false}};
    };
    const Json file = {{"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", Json::array()}}},
                       {"added_tokens", {special(kEos, "</s>"), special(kOtherEos, "<end>")}},
                       {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}},
                       {"decoder", {{"type", "ByteLevel"}}}};
    return Tokenizer::from_tokenizer_json(parse_json(file.dump(), "tokenizer.json"), nullptr, "tokenizer.json");
  }();
  return made;
}

std::vector<int32_t> ids(const std::vector<std::string>& pieces) {
  std::vector<int32_t> out;
  for (const std::string& piece : pieces) {
    out.push_back(static_cast<int32_t>(std::find(kPieces.begin(), kPieces.end(), piece) - kPieces.begin()));
  }
  return out;
}

/// An engine whose model says `answer` after any prompt of one token.
struct Scripted : FakeEngine {
  explicit Scripted(std::vector<int32_t> answer, EngineLimits limits = {})
      : FakeEngine(64, with_eos(std::move(limits)), &tokenizer()) {
    model.script = [answer](std::span<const int32_t> tokens) {
      return tokens.size() <= answer.size() ? answer[tokens.size() - 1] : -1;
    };
  }
  static EngineLimits with_eos(EngineLimits limits) {
    limits.eos_token_ids = {kEos, kOtherEos};
    return limits;
  }
  CompletionOutput answer(const SamplingParams& params) { return run({0}, params).outputs.at(0); }
};

TEST(Output, TextIsThatOfTheTokens) {
  Scripted engine(ids({"he", "llo", " wor", "ld", "!"}));
  const CompletionOutput output = engine.answer(greedy(5));
  EXPECT_EQ(output.text, "hello world!");
  EXPECT_EQ(output.finish_reason, "length");
  EXPECT_FALSE(output.stop_string || output.stop_token_id || output.logprobs);
}

TEST(Output, StopStringsAcrossTokenBordersAreCutOut) {
  Scripted engine(ids({"he", "llo", " wor", "ld", "!"}));
  SamplingParams params = greedy(5);
  params.stop = {"o w", "xyz"};
  CompletionOutput output = engine.answer(params);
  EXPECT_EQ(output.text, "hell");
  EXPECT_EQ(output.finish_reason, "stop");
  EXPECT_EQ(output.stop_string, "o w");
  EXPECT_EQ(output.token_ids, ids({"he", "llo", " wor"}));
  params.include_stop_str_in_output = true;
  EXPECT_EQ(engine.answer(params).text, "hello w");
}

TEST(Output, DeltasHoldBackWhatMayBeAStopString) {
  Scripted engine(ids({"h", "STO", "e", "STO", "OP", "STO", "P", "!"}));
  SamplingParams params = greedy(8);
  params.stop = {"STOP"};
  for (const OutputKind kind : {OutputKind::delta, OutputKind::cumulative}) {
    params.output_kind = kind;
    engine.add({0}, params);
    std::vector<std::string> texts;
    std::string reason;
    while (engine.core.has_unfinished()) {
      for (const RequestOutput& output : engine.core.step()) {
        texts.push_back(output.outputs.at(0).text);
        reason = output.outputs[0].finish_reason;
      }
    }
    EXPECT_EQ(reason, "stop");
    EXPECT_EQ(texts, kind == OutputKind::delta ? (std::vector<std::string>{"h", "", "STOe", "", "STOOP", "", ""})
                                               : (std::vector<std::string>{"h", "h", "hSTOe", "hSTOe", "hSTOeSTOOP",
                                                                           "hSTOeSTOOP", "hSTOeSTOOP"}));
  }
}

TEST(Output, HeldTextComesOutAtTheEnd) {
  Scripted engine(ids({"h", "STO"}));
  SamplingParams params = greedy(2);
  params.stop = {"STOP"};
  EXPECT_EQ(engine.answer(params).text, "hSTO");
}

TEST(Output, EosEndsAndIsNotText) {
  Scripted engine({8, kEos, 9, 9});
  CompletionOutput output = engine.answer(greedy(4));
  EXPECT_EQ(output.text, "he");
  EXPECT_EQ(output.token_ids, (std::vector<int32_t>{8, kEos}));
  EXPECT_EQ(output.finish_reason, "stop");
  EXPECT_EQ(output.stop_token_id, std::nullopt);
  SamplingParams params = greedy(4);
  params.ignore_eos = true;
  output = engine.answer(params);
  EXPECT_EQ(output.text, "hellollo");
  EXPECT_EQ(output.finish_reason, "length");
  params.skip_special_tokens = false;
  EXPECT_EQ(engine.answer(params).text, "he</s>llollo");
}

TEST(Output, OtherEndsNameTheirToken) {
  Scripted engine({8, kOtherEos, 9});
  EXPECT_EQ(engine.answer(greedy(3)).stop_token_id, kOtherEos);
  Scripted plain(ids({"he", "llo", "!"}));
  SamplingParams params = greedy(3);
  params.stop_token_ids = {9};
  CompletionOutput output = plain.answer(params);
  EXPECT_EQ(output.text, "he");
  EXPECT_EQ(output.stop_token_id, 9);
  params.include_stop_str_in_output = true;
  EXPECT_EQ(plain.answer(params).text, "hello");
}

TEST(Output, MinTokensPutsOffEveryEnd) {
  Scripted eos({kEos, kEos, kEos, kEos, kEos});
  SamplingParams params = greedy(5);
  params.min_tokens = 3;
  CompletionOutput output = eos.answer(params);
  EXPECT_EQ(output.token_ids.size(), 4u);
  EXPECT_EQ(output.token_ids.back(), kEos);
  EXPECT_EQ(std::count(output.token_ids.begin(), output.token_ids.end(), kEos), 1);

  Scripted words(ids({"he", "llo", "he", "llo", "he", "llo"}));
  params = greedy(6);
  params.min_tokens = 3;
  params.stop = {"hello"};
  output = words.answer(params);
  EXPECT_EQ(output.text, "hello");  // the second one ends after the third token
  EXPECT_EQ(output.token_ids.size(), 4u);
}

TEST(Output, CharactersOfSeveralTokensComeWhole) {
  Scripted engine({kByteC3, kByteA9, 0, kByteC3});
  SamplingParams params = greedy(4);
  params.output_kind = OutputKind::delta;
  engine.add({0}, params);
  std::vector<std::string> texts;
  while (engine.core.has_unfinished()) {
    for (const RequestOutput& output : engine.core.step()) texts.push_back(output.outputs.at(0).text);
  }
  EXPECT_EQ(texts, (std::vector<std::string>{"", "é", "h", "\xef\xbf\xbd"}));
}

TEST(Output, WithoutDetokenizationThereIsNoText) {
  Scripted engine(ids({"he", "llo"}));
  SamplingParams params = greedy(2);
  params.detokenize = false;
  params.logprobs = 1;
  const CompletionOutput output = engine.answer(params);
  EXPECT_EQ(output.text, "");
  EXPECT_EQ(output.logprobs->at(0)[0].second.decoded_token, "");
  EXPECT_EQ(output.token_ids, ids({"he", "llo"}));
}

TEST(Output, TextPromptsAreTokenized) {
  Scripted engine(ids({"he", "llo"}));
  const uint64_t id = engine.core.add({.text = "h", .token_ids = {}, .cache_salt = {}}, greedy(2));
  const RequestOutput output = engine.finish().at(id);
  EXPECT_EQ(output.prompt, "h");
  EXPECT_EQ(output.prompt_token_ids, std::vector<int32_t>{0});
  EXPECT_EQ(output.outputs[0].text, "hello");
}

TEST(Output, FinalOnlySpeaksOnce) {
  FakeEngine engine;
  SamplingParams params = greedy(10);
  params.output_kind = OutputKind::final_only;
  engine.add(test_prompt(5), params);
  int n_outputs = 0;
  while (engine.core.has_unfinished()) {
    for (const RequestOutput& output : engine.core.step()) {
      ++n_outputs;
      EXPECT_TRUE(output.finished);
      EXPECT_EQ(output.outputs[0].token_ids.size(), 10u);
    }
  }
  EXPECT_EQ(n_outputs, 1);
}

double reference_logprob(const std::vector<float>& logits, int32_t token) {
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  return static_cast<double>(logits[static_cast<size_t>(token)]) - std::log(sum);
}

void expect_scores(const TokenLogprobs& got, const std::vector<int32_t>& context, int32_t token, int64_t n_top) {
  const std::vector<float> logits = fake_logits(context);
  std::vector<int32_t> order(kFakeVocab);
  for (int32_t i = 0; i < kFakeVocab; ++i) order[static_cast<size_t>(i)] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return logits[size_t(a)] > logits[size_t(b)]; });
  const auto rank = std::find(order.begin(), order.end(), token) - order.begin() + 1;
  ASSERT_EQ(static_cast<int64_t>(got.size()), rank > n_top ? n_top + 1 : n_top);
  for (size_t i = 0; i < got.size(); ++i) {
    const int32_t expected = static_cast<int64_t>(i) < n_top ? order[i] : token;
    EXPECT_EQ(got[i].first, expected);
    EXPECT_EQ(got[i].second.rank, static_cast<int64_t>(i) < n_top ? static_cast<int64_t>(i) + 1 : rank);
    EXPECT_NEAR(static_cast<double>(got[i].second.logprob), reference_logprob(logits, expected), 2e-6);
  }
}

TEST(Output, LogprobsAreThoseBeforeTemperature) {
  for (const int64_t n_top : {int64_t{0}, int64_t{4}, int64_t{kFakeVocab}}) {
    FakeEngine engine(64, {.max_logprobs = -1});
    SamplingParams params;
    params.temperature = 2;
    params.seed = 5;
    params.min_tokens = 8;
    params.logprobs = n_top == kFakeVocab ? -1 : n_top;
    params.max_tokens = 12;
    const CompletionOutput output = engine.run(test_prompt(9), params).outputs[0];
    ASSERT_EQ(output.logprobs->size(), 12u);
    std::vector<int32_t> context = test_prompt(9);
    double sum = 0;
    for (size_t i = 0; i < 12; ++i) {
      expect_scores(output.logprobs->at(i), context, output.token_ids[i], n_top);
      sum += reference_logprob(fake_logits(context), output.token_ids[i]);
      context.push_back(output.token_ids[i]);
    }
    EXPECT_NEAR(output.cumulative_logprob, sum, 1e-4);
  }
}

TEST(Output, PromptLogprobsWhateverTheChunks) {
  const auto prompt = test_prompt(150);
  for (const int64_t budget : {5, 64, 2048}) {
    FakeEngine engine(64, {.max_num_batched_tokens = budget, .max_prompt_rows = 20});
    engine.run(prompt, greedy(1));  // fills the prefix cache, which must hide nothing
    SamplingParams params = greedy(2);
    params.prompt_logprobs = 3;
    const uint64_t first = engine.add(prompt, params), second = engine.add(prompt, params);
    const auto outputs = engine.finish();
    for (const uint64_t id : {first, second}) {
      const auto& scores = outputs.at(id).prompt_logprobs;
      ASSERT_EQ(scores->size(), prompt.size());
      EXPECT_FALSE(scores->at(0));
      for (size_t i = 1; i < prompt.size(); ++i) {
        expect_scores(*scores->at(i), {prompt.begin(), prompt.begin() + static_cast<ptrdiff_t>(i)}, prompt[i], 3);
      }
      EXPECT_EQ(outputs.at(id).outputs[0].token_ids, expected_greedy(prompt, 2));
    }
    EXPECT_LE(engine.model.max_rows, 20u + 2);
  }
}

TEST(Output, PromptLogprobsSurvivePreemption) {
  FakeEngine engine(11, {.max_num_batched_tokens = 70, .max_prompt_rows = 2});
  SamplingParams params = greedy(40);
  engine.add(test_prompt(60, 1), params);
  engine.core.step();
  params.max_tokens = 5;
  params.prompt_logprobs = 0;
  const auto prompt = test_prompt(80, 2);
  const uint64_t id = engine.add(prompt, params);
  const auto outputs = engine.finish();
  EXPECT_GT(engine.core.stats().n_preemptions, 0);
  ASSERT_EQ(outputs.at(id).prompt_logprobs->size(), 80u);
  for (size_t i = 1; i < prompt.size(); ++i) {
    expect_scores(*outputs.at(id).prompt_logprobs->at(i), {prompt.begin(), prompt.begin() + static_cast<ptrdiff_t>(i)},
                  prompt[i], 0);
  }
}

TEST(Output, SeveralOutputsShareThePrompt) {
  FakeEngine engine;
  SamplingParams params;
  params.n = 3;
  params.seed = 1;
  params.max_tokens = 20;
  params.output_kind = OutputKind::delta;
  engine.add(test_prompt(64), params);
  std::map<int64_t, std::vector<int32_t>> tokens;
  RequestOutput last;
  while (engine.core.has_unfinished()) {
    for (RequestOutput& output : engine.core.step()) {
      for (const auto& part : output.outputs) {
        tokens[part.index].insert(tokens[part.index].end(), part.token_ids.begin(), part.token_ids.end());
      }
      last = std::move(output);
    }
  }
  EXPECT_TRUE(last.finished);
  ASSERT_EQ(tokens.size(), 3u);
  EXPECT_NE(tokens[0], tokens[1]);
  EXPECT_NE(tokens[1], tokens[2]);
  EXPECT_LE(engine.model.n_tokens, 64 + 2 * 16 + 3 * 19);
  params.n = 1;  // the first output is what one output alone is
  EXPECT_EQ(engine.run(test_prompt(64), params).num_cached_tokens, 48);
  params.output_kind = OutputKind::final_only;
  EXPECT_EQ(engine.run(test_prompt(64), params).outputs[0].token_ids, tokens[0]);
  params.n = 3;
  const RequestOutput whole = engine.run(test_prompt(64), params);
  for (const CompletionOutput& output : whole.outputs) EXPECT_EQ(output.token_ids, tokens[output.index]);
}

TEST(Output, SeedsDecideAndUnseededRequestsDiffer) {
  EngineLimits limits{.seed = 9};
  FakeEngine engine(256, limits), again(256, limits), other(256, {.seed = 10});
  SamplingParams params;
  params.max_tokens = 20;
  const auto tokens = [&](FakeEngine& from) { return from.run(test_prompt(5), params).outputs[0].token_ids; };
  const auto first = tokens(engine);
  EXPECT_NE(tokens(engine), first);
  EXPECT_EQ(tokens(again), first);
  EXPECT_NE(tokens(other), first);
  params.seed = 3;
  EXPECT_EQ(tokens(engine), tokens(other));
}

std::string refusal(FakeEngine& engine, const std::vector<int64_t>& tokens, const SamplingParams& params) {
  try {
    Prompt prompt;
    prompt.token_ids = tokens;
    engine.core.add(prompt, params);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::request);
    return e.what();
  }
  return "";
}

TEST(Output, fault_083_token_ids_are_checked) {
  FakeEngine engine;
  EXPECT_EQ(refusal(engine, {0, kFakeVocab - 1}, greedy(1)), "");
  for (const int64_t id : {int64_t{-1}, int64_t{kFakeVocab}, int64_t{1} << 40}) {
    EXPECT_EQ(refusal(engine, {0, id}, greedy(1)),
              fmt::format("prompt_token_ids: token id {} at index 1 is out of vocabulary (got {}, limit 95)", id, id));
  }
  EXPECT_EQ(refusal(engine, {}, greedy(1)), "prompt: it cannot be empty (got 0 tokens)");
  SamplingParams params = greedy(1);
  params.stop_token_ids = {kFakeVocab};
  EXPECT_EQ(refusal(engine, {0}, params), "stop_token_ids: token id 96 is out of vocabulary (got 96, limit 95)");
}

TEST(Output, fault_084_logprobs_have_a_limit) {
  FakeEngine engine;
  SamplingParams params = greedy(1);
  params.logprobs = 20;
  EXPECT_EQ(refusal(engine, {0}, params), "");
  params.logprobs = 1000000;
  EXPECT_EQ(refusal(engine, {0}, params), "logprobs=1000000 is more than max_logprobs allows (got 1000000, limit 20)");
  params.logprobs.reset();
  params.prompt_logprobs = -1;
  EXPECT_EQ(refusal(engine, {0}, params), "prompt_logprobs=-1 is more than max_logprobs allows (got 96, limit 20)");
}

TEST(Output, StopStringsNeedATokenizer) {
  FakeEngine engine;
  SamplingParams params = greedy(1);
  params.stop = {"x"};
  EXPECT_EQ(refusal(engine, {0}, params), "stop: stop strings need a tokenizer, and skip_tokenizer_init is set");
}

}  // namespace
}  // namespace packhorse
