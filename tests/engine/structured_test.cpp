// Outputs match what they have to match, whatever the sampling and the batch; what is no grammar is refused.

#include <gtest/gtest.h>

#include <cmath>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>

#include "base/error.h"
#include "engine/engine_testing.h"
#include "engine/structured_testing.h"
#include "packhorse/packhorse.h"
#include "testing.h"

namespace packhorse {
namespace {

using nlohmann::json;

EngineOptions options_of(const char* checkpoint) {
  EngineOptions options;
  options.model = (testing::golden_dir() / "formats" / checkpoint).string();
  options.max_model_len = 512;
  options.threads = 2;
  return options;
}

Engine& engine() {
  static Engine shared(options_of("ct-w4a16-g128"));
  return shared;
}

SamplingParams wants(const StructuredOutputs& structured, int64_t seed = 1) {
  SamplingParams params;
  params.seed = seed;
  params.max_tokens = 200;
  params.structured_outputs = structured;
  return params;
}

std::map<uint64_t, RequestOutput> finish(Engine& engine) {
  std::map<uint64_t, RequestOutput> outputs;
  while (engine.has_unfinished()) {
    for (RequestOutput& output : engine.step()) outputs[output.request_id] = std::move(output);
  }
  return outputs;
}

/// Two answers to each of five seeds.
std::vector<CompletionOutput> answers(Engine& engine, const StructuredOutputs& structured) {
  for (int64_t seed = 1; seed <= 5; ++seed) {
    SamplingParams params = wants(structured, seed);
    params.n = 2;
    engine.add({.text = "Once upon a time"}, params);
  }
  std::vector<CompletionOutput> all;
  for (const auto& [id, output] : finish(engine)) {
    all.insert(all.end(), output.outputs.begin(), output.outputs.end());
  }
  EXPECT_EQ(all.size(), 10u);
  return all;
}

std::string refusal(const StructuredOutputs& structured) {
  const std::clock_t start = std::clock();
  std::string message;
  try {
    engine().add({.text = "x"}, wants(structured));
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::request);
    message = e.what();
  }
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 10) << message;
  EXPECT_FALSE(engine().has_unfinished());
  return message;
}

std::string repeated(std::string_view text, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += text;
  return out;
}

const char* const kSchema = R"({"type": "object",
  "properties": {"name": {"enum": ["Ann", "Bob \"the\" cook"]}, "age": {"type": "integer", "minimum": 0, "maximum": 120},
                 "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3}},
  "required": ["name", "age", "tags"]})";

TEST(Structured, OutputsFollowTheJsonSchema) {
  for (const char* checkpoint : {"ct-w4a16-g128", "gguf-q4_0", "gguf-q3_k_m-qwen2"}) {  // bytes and byte tokens
    Engine engine(options_of(checkpoint));
    for (const CompletionOutput& output : answers(engine, schema(kSchema))) {
      ASSERT_EQ(output.finish_reason, "stop") << output.text;
      const json value = json::parse(output.text);
      EXPECT_EQ(value.size(), 3u) << output.text;
      EXPECT_TRUE(value.at("name") == "Ann" || value.at("name") == "Bob \"the\" cook") << output.text;
      EXPECT_TRUE(value.at("age").is_number_integer() && value.at("age") >= 0 && value.at("age") <= 120);
      EXPECT_LE(value.at("tags").size(), 3u);
    }
  }
}

TEST(Structured, AdditionalPropertiesAreTheSchemasOwnWish) {
  const std::string members = R"("properties": {"a": {"type": "boolean"}}, "required": ["a"])";
  for (const bool is_disabled : {false, true}) {
    StructuredOutputs wanted = schema("{\"type\": \"object\", " + members + "}");
    wanted.disable_additional_properties = is_disabled;
    for (const CompletionOutput& output : answers(engine(), wanted)) {
      EXPECT_TRUE(std::regex_match(output.text, std::regex(R"re(\{"a": ?(true|false)\})re"))) << output.text;
    }
    wanted.json = R"({"type": "object", "additionalProperties": {"type": "null"}, )" + members + "}";
    bool has_more = false;
    for (const CompletionOutput& output : answers(engine(), wanted))
      has_more |= output.text.find(',') != std::string::npos;
    EXPECT_TRUE(has_more) << is_disabled;
  }
}

TEST(Structured, OutputsMatchThePattern) {
  const std::regex expected("[a-c]{2,4}(é|-)[0-9]{1,3}");
  for (const CompletionOutput& output : answers(engine(), pattern("[a-c]{2,4}(é|-)[0-9]{1,3}"))) {
    EXPECT_EQ(output.finish_reason, "stop");
    EXPECT_TRUE(std::regex_match(output.text, expected)) << output.text;
  }
}

TEST(Structured, OutputsAreOneOfTheChoices) {
  const std::vector<std::string> choices = {"yes", "no", "a \"quoted\" \\ one", "two\nlines", "größer"};
  for (const CompletionOutput& output : answers(engine(), choice(choices))) {
    EXPECT_EQ(output.finish_reason, "stop");
    EXPECT_NE(std::ranges::find(choices, output.text), choices.end()) << output.text;
  }
  for (const std::string& text : choices) {
    for (const CompletionOutput& output : answers(engine(), choice({text}))) EXPECT_EQ(output.text, text);
  }
}

TEST(Structured, OutputsFollowTheGrammar) {
  const std::string text = "root ::= item (\",\" item){0,3}\nitem ::= \"(\" item \")\" | [xyz]";
  for (const CompletionOutput& output : answers(engine(), grammar(text))) {
    EXPECT_NE(output.finish_reason, "error");
    int depth = 0;
    for (const char c : output.text) {
      depth += c == '(' ? 1 : c == ')' ? -1 : 0;
      ASSERT_GE(depth, 0) << output.text;
      ASSERT_NE(std::string_view("(),xyz").find(c), std::string_view::npos) << output.text;
    }
    if (output.finish_reason == "stop") {
      EXPECT_EQ(depth, 0) << output.text;
    }
  }
}

TEST(Structured, AnyJsonObject) {
  StructuredOutputs wanted;
  wanted.json_object = true;
  wanted.disable_any_whitespace = true;
  for (const CompletionOutput& output : answers(engine(), wanted)) {
    ASSERT_EQ(output.text.substr(0, 1), "{");
    if (output.finish_reason == "stop") {
      EXPECT_TRUE(json::parse(output.text).is_object()) << output.text;
    }
  }
}

TEST(Structured, TagsInBothForms) {
  const std::string content = R"({"type": "json_schema", "json_schema": {"enum": [1, 2]}})";
  const std::string now = R"({"type": "structural_tag", "format": {"type": "tag", "begin": "<f>", "content": )" +
                          content + R"(, "end": "</f>"}})";
  for (const CompletionOutput& output : answers(engine(), tag(now))) {
    EXPECT_TRUE(output.text == "<f>1</f>" || output.text == "<f>2</f>") << output.text;
  }
  const std::string before =
      R"({"structures": [{"begin": "<f>", "schema": {"enum": [1, 2]}, "end": "</f>"}], "triggers": ["<f"]})";
  for (const CompletionOutput& output : answers(engine(), tag(before))) {
    const size_t begin = output.text.find("<f");
    if (begin != std::string::npos) {
      EXPECT_TRUE(std::regex_search(output.text.substr(begin), std::regex("^<f(>([12](</?f?>?)?)?)?"))) << output.text;
    }
  }
}

TEST(Structured, NeitherChunksNorPreemptionShow) {
  const auto tokens = [](EngineOptions options, int64_t& n_preemptions) {
    Engine engine(options);
    for (int64_t seed = 1; seed <= 6; ++seed) {
      SamplingParams params = wants(pattern("([a-z]{3} ){12}"), seed);
      params.n = 2;
      engine.add({.text = "A list of words, each of which has three letters:"}, params);
    }
    std::vector<std::vector<int32_t>> all;
    for (const auto& [id, output] : finish(engine)) {
      n_preemptions += output.metrics.n_preemptions;
      for (const CompletionOutput& part : output.outputs) all.push_back(part.token_ids);
    }
    return all;
  };
  int64_t none = 0, some = 0;
  const auto expected = tokens(options_of("ct-w4a16-g128"), none);
  EXPECT_EQ(tokens(testing::crowded(options_of("ct-w4a16-g128"), 16), some), expected);
  EXPECT_EQ(none, 0);
  EXPECT_GT(some, 0);
}

TEST(Structured, CompleteOutputsEndWhateverElseIsAsked) {
  SamplingParams params = wants(choice({"yes"}));
  params.min_tokens = 50;
  params.ignore_eos = true;
  params.logit_bias = {{*engine().eos_token_id(), -100.0}};
  engine().add({.text = "Well?"}, params);
  const CompletionOutput output = finish(engine()).begin()->second.outputs.at(0);
  EXPECT_EQ(output.text, "yes");
  EXPECT_EQ(output.finish_reason, "stop");
}

TEST(Structured, IncompleteOutputsGoOnAsLongAsIsAsked) {
  for (const bool ignore_eos : {false, true}) {
    SamplingParams params = wants(pattern("(a|b)*"));
    params.max_tokens = 40;
    params.min_tokens = ignore_eos ? 0 : 30;
    params.ignore_eos = ignore_eos;
    params.logit_bias = {{*engine().eos_token_id(), 100.0}};
    engine().add({.text = "Well?"}, params);
    const CompletionOutput output = finish(engine()).begin()->second.outputs.at(0);
    EXPECT_TRUE(std::regex_match(output.text, std::regex("[ab]*"))) << output.text;
    if (ignore_eos) {
      EXPECT_EQ(output.token_ids.size(), 40u);
    } else {
      EXPECT_GE(output.token_ids.size(), 30u);
    }
  }
}

TEST(Structured, LogprobsAreThoseOfTheModel) {
  SamplingParams params = wants(choice({"yes"}));
  params.logprobs = 1;
  engine().add({.text = "Well?"}, params);
  const TokenLogprobs constrained = finish(engine()).begin()->second.outputs.at(0).logprobs->at(0);
  params.structured_outputs.reset();
  params.temperature = 0;
  params.max_tokens = 1;
  engine().add({.text = "Well?"}, params);
  const TokenLogprobs free = finish(engine()).begin()->second.outputs.at(0).logprobs->at(0);
  EXPECT_EQ(constrained[0].first, free[0].first);
  EXPECT_EQ(constrained[0].second.logprob, free[0].second.logprob);
}

TEST(Structured, fault_089_a_request_without_a_token_ends_with_an_error) {
  SamplingParams params = wants(pattern("[ab]+"));
  params.allowed_token_ids = {engine().tokenize("7", false).back()};
  engine().add({.text = "Well?"}, params);
  SamplingParams other;
  other.temperature = 0;
  engine().add({.text = "Well?"}, other);
  const auto outputs = finish(engine());
  EXPECT_EQ(outputs.begin()->second.refusal, "the sampling parameters leave no token to choose");
  EXPECT_EQ(outputs.rbegin()->second.refusal, "");
  EXPECT_EQ(outputs.begin()->second.outputs.at(0).finish_reason, "error");
  EXPECT_EQ(outputs.begin()->second.outputs.at(0).text, "");
  EXPECT_EQ(outputs.rbegin()->second.outputs.at(0).finish_reason, "length");
}

TEST(Structured, ExactlyOneKind) {
  StructuredOutputs two = pattern("a");
  two.choice = {"b"};
  EXPECT_NE(refusal({}).find("got 0"), std::string::npos);
  EXPECT_NE(refusal(two).find("got 2"), std::string::npos);
  EXPECT_NE(refusal(pattern("\xff")).find("valid UTF-8"), std::string::npos);
}

TEST(Structured, fault_087_schemas_are_refused) {
  const std::pair<std::string, const char*> cases[] = {
      {"{\"enum\": [\"" + std::string(1 << 20, 'x') + "\"]}", "262144 bytes"},
      {repeated(R"({"items":)", 10'000) + "{}" + std::string(10'000, '}'), "deep"},
      {R"({"$ref": "#"})", "$ref leads back"},
      {R"({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"})",
       "$ref leads back"},
      {R"({"$ref": "#/$defs/none"})", "none"},
      {R"({"type": "array", "minItems": 1000000000})", "1000000000"},
      {R"({"type": "string", "minLength": 1000000000})", "1000000000"},
      {R"({"type": "array", "minItems": 5, "maxItems": 2})", "structured_outputs"},
      {R"({"type": "blob"})", "blob"},
      {R"({"type": "string", "pattern": "(["})", "structured_outputs"},
      {R"({"$ref": "http://x/y"})", "leads out"},
      {R"({"properties": {"a": {"$ref": "other.json#/x"}}})", "leads out"},
      {R"({"anyOf": [{"type": "integer"}, {"not": {"type": "string"}}]})", "'not'"},
      {R"({"items": {"contains": {"type": "integer"}}})", "'contains'"},
      {R"({"type": "string", "pattern": "(?=a)b"})", "ookahead"},
      {R"({"type": "string", "pattern": "[a-z]+", "minLength": 3})", "minLength"},
      {R"({"type": )", "structured_outputs: json"},
      {R"(["type"])", "object"},
      {"false", "structured_outputs"},
  };
  for (const auto& [text, reason] : cases) {
    const std::string message = refusal(schema(text));
    EXPECT_NE(message.find(reason), std::string::npos) << text.substr(0, 80) << ": " << message;
    EXPECT_EQ(message.find(".cc"), std::string::npos) << message;
  }
}

TEST(Structured, NamesAndValuesAreNoKeywords) {
  const std::string message = R"({"type": "object", "properties": {"not": {"enum": ["if", {"contains": 1}]}},
                                  "additionalProperties": false, "uniqueItems": false})";
  SamplingParams params = wants(schema(message));
  params.max_tokens = 1;
  EXPECT_NO_THROW(engine().add({.text = "x"}, params));
  finish(engine());
}

TEST(Structured, fault_087_patterns_are_refused_or_matched_in_time) {
  for (const char* text : {"(", "[a-", "a{2,1}", "(?=a)b", "(a)\\1", "a{1,1000000000}"}) {
    EXPECT_NE(refusal(pattern(text)), "") << text;
  }
  EXPECT_NE(refusal(pattern(std::string(60'000, '(') + "a" + std::string(60'000, ')'))), "");
  EXPECT_NE(refusal(pattern(std::string(300, '(') + "a" + repeated("*)", 300))), "");
  for (const char* text : {"(a+)+b", "(a|a|aa)*b", "(a|b)*a(a|b){18}"}) {
    SamplingParams params = wants(pattern(text));
    params.max_tokens = 30;
    engine().add({.text = "x"}, params);
    const CompletionOutput output = finish(engine()).begin()->second.outputs.at(0);
    EXPECT_TRUE(std::regex_match(output.text, std::regex("[ab]*"))) << output.text;
    EXPECT_NE(output.finish_reason, "error") << text;
  }
}

TEST(Structured, fault_088_grammars_are_refused) {
  std::string chain;
  for (int i = 0; i < 5000; ++i) chain += fmt::format("r{} ::= r{} \"x\"\n", i, i + 1);
  const std::pair<std::string, const char*> cases[] = {
      {"root ::= " + std::string(60'000, '(') + "\"a\"" + std::string(60'000, ')'), "structured_outputs"},
      {"root ::= root \"a\" | \"b\"", "left recursion"},
      {"root ::= x\nx ::= y \"a\"\ny ::= x | \"b\"", "left recursion"},
      {"root ::= root root | \"a\" | \"\"", "left recursion"},
      {"root ::= nothing", "nothing"},
      {"x ::= \"a\"", "root"},
      {"", "root"},
      {"root ::= \"a\"{1,1000000000}", "1000000000"},
      {chain + "r5000 ::= \"a\"\nroot ::= r0", "chain"},
      {"root ::= \"a\" |", "structured_outputs"},
      {"root ::= \"", "structured_outputs"},
  };
  for (const auto& [text, reason] : cases) {
    const std::string message = refusal(grammar(text));
    EXPECT_NE(message.find(reason), std::string::npos) << text.substr(0, 80) << ": " << message;
  }
}

TEST(Structured, fault_089_matching_takes_limited_time) {
  SamplingParams params =
      wants(pattern("(((([a-z]+)+)+)+)+"));  // the ways to match what is there grow with each letter
  params.max_tokens = 450;
  params.ignore_eos = true;
  engine().add({.text = "x"}, params);
  const std::clock_t start = std::clock();
  const RequestOutput output = finish(engine()).begin()->second;
  EXPECT_EQ(output.outputs.at(0).finish_reason, "error");
  EXPECT_EQ(output.refusal, "structured_outputs: the grammar takes too long to match");
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 20);
  EXPECT_THROW(engine().add({.text = "x"}, params), Error);  // nobody else is held up by it
}

}  // namespace
}  // namespace packhorse
