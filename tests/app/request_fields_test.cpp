// Rows 78 to 80, 85 to 87 of the fault catalogue: fields of wrong types, out of range, or that ask for what is not
// there.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "app/server_testing.h"

namespace packhorse::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::refusal;
using testing::SmallServer;

class RequestFields : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<SmallServer>(); }
  static void TearDownTestSuite() { server_.reset(); }

  static SamplingParams read(const std::string& json) {
    const Json body = Json::parse(json);
    return read_sampling(server_->context, Fields(body));
  }
  static HttpError refused(const std::string& json) {
    return refusal([&] { read(json); });
  }
  static ServerContext& context() { return server_->context; }

 private:
  inline static std::unique_ptr<SmallServer> server_;
};

TEST_F(RequestFields, all_sampling_fields) {
  const SamplingParams p = read(R"({"temperature": 0.5, "top_p": 0.9, "top_k": 7, "min_p": 0.1, "presence_penalty": 1,
      "frequency_penalty": -1, "repetition_penalty": 1.5, "seed": 42, "stop": "end", "stop_token_ids": [5, 6.0],
      "ignore_eos": true, "min_tokens": 2, "logit_bias": {"7": 1.5, "8": -100}, "allowed_token_ids": [7, 8],
      "bad_words": ["x"], "n": 3, "best_of": 3, "skip_special_tokens": false, "spaces_between_special_tokens": false,
      "include_stop_str_in_output": true, "prompt_logprobs": 2, "user": "u", "unheard_of": {"a": []}})");
  EXPECT_EQ(p.temperature, 0.5);
  EXPECT_EQ(p.top_p, 0.9);
  EXPECT_EQ(p.top_k, 7);
  EXPECT_EQ(p.min_p, 0.1);
  EXPECT_EQ(p.presence_penalty, 1);
  EXPECT_EQ(p.frequency_penalty, -1);
  EXPECT_EQ(p.repetition_penalty, 1.5);
  EXPECT_EQ(p.seed, 42);
  EXPECT_THAT(p.stop, ElementsAre("end"));
  EXPECT_THAT(p.stop_token_ids, ElementsAre(5, 6));
  EXPECT_TRUE(p.ignore_eos);
  EXPECT_EQ(p.min_tokens, 2);
  EXPECT_EQ(p.logit_bias, (std::map<int64_t, double>{{7, 1.5}, {8, -100}}));
  EXPECT_THAT(*p.allowed_token_ids, ElementsAre(7, 8));
  EXPECT_THAT(p.bad_words, ElementsAre("x"));
  EXPECT_EQ(p.n, 3);
  EXPECT_FALSE(p.skip_special_tokens);
  EXPECT_FALSE(p.spaces_between_special_tokens);
  EXPECT_TRUE(p.include_stop_str_in_output);
  EXPECT_EQ(p.prompt_logprobs, 2);
}

TEST_F(RequestFields, nothing_and_null_are_the_models_defaults) {
  const SamplingParams defaults = context().engine.engine().default_sampling_params();
  for (const char* json :
       {"{}", R"({"temperature": null, "stop": null, "logit_bias": null, "response_format": null})"}) {
    const SamplingParams p = read(json);
    EXPECT_EQ(p.temperature, defaults.temperature);
    EXPECT_EQ(p.top_k, defaults.top_k);
    EXPECT_TRUE(p.stop.empty());
    EXPECT_FALSE(p.structured_outputs);
  }
}

TEST_F(RequestFields, fault_078_each_numeric_field_with_each_bad_value) {
  const std::vector<std::string> numbers = {
      "temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "length_penalty"};
  const std::vector<std::string> whole = {"top_k", "n", "best_of", "seed", "min_tokens", "prompt_logprobs"};
  const auto check = [](const std::string& field, const std::string& value) {
    const HttpError error = refused(fmt::format(R"({{"{}": {}}})", field, value));
    EXPECT_EQ(error.status, 400) << field << " " << value;
    EXPECT_EQ(error.param, field) << field << " " << value;
  };
  for (const std::string& field : numbers) {
    for (const char* value : {"\"1\"", "true", "[1]", "{}", "-1e300"}) check(field, value);
  }
  for (const std::string& field : whole) {
    for (const char* value :
         {"\"1\"", "true", "[1]", "{}", "1.5", "9223372036854775808", "1e300", "-9223372036854775809"})
      check(field, value);
  }
  for (const char* field : {"stop_token_ids", "allowed_token_ids"}) {
    for (const char* value : {"\"1\"", "true", "1", "[true]", "[1.5]", "[\"1\"]", "[[1]]", "[9223372036854775808]"})
      check(field, value);
  }
  for (const char* field : {"ignore_eos", "skip_special_tokens", "spaces_between_special_tokens", "use_beam_search",
                            "include_stop_str_in_output"}) {
    for (const char* value : {"1", "0", "\"true\"", "[]"}) check(field, value);
  }
}

TEST_F(RequestFields, fault_079_080_ranges) {
  const struct {
    const char *field, *value;
  } cases[] = {{"temperature", "-1"},
               {"temperature", "1000000000"},
               {"top_p", "0"},
               {"top_p", "1.1"},
               {"top_k", "-2"},
               {"min_p", "2"},
               {"presence_penalty", "2.5"},
               {"frequency_penalty", "-3"},
               {"repetition_penalty", "0"},
               {"n", "0"},
               {"n", "-1"},
               {"n", "1000000000"},
               {"best_of", "2"},
               {"min_tokens", "-1"},
               {"prompt_logprobs", "-2"},
               {"length_penalty", "0.5"},
               {"use_beam_search", "true"},
               {"vllm_xargs", "{\"a\": 1}"},
               {"logprob_token_ids", "[1]"},
               {"allowed_token_ids", "[]"}};
  for (const auto& [field, value] : cases) {
    const HttpError error = refused(fmt::format(R"({{"{}": {}}})", field, value));
    EXPECT_EQ(error.status, 400) << field << " " << value;
    EXPECT_EQ(error.param, field) << error.message;
  }
  EXPECT_EQ(read(R"({"length_penalty": 1.0, "use_beam_search": false, "vllm_xargs": {}, "seed": -1})").n, 1);
}

TEST_F(RequestFields, fault_085_stops) {
  const auto many = [](size_t n) { return Json{{"stop", std::vector<std::string>(n, "ab")}}.dump(); };
  EXPECT_EQ(read(many(100)).stop.size(), 100u);
  EXPECT_EQ(refused(many(100'000)).param, "stop");
  EXPECT_EQ(refused(Json{{"stop", std::string(1 << 20, 'x')}}.dump()).param, "stop");
  for (const char* value : {R"("")", R"([""])", R"(["a", ""])", "1", "[1]", "{}"}) {
    const HttpError error = refused(fmt::format(R"({{"stop": {}}})", value));
    EXPECT_EQ(error.status, 400) << value;
    EXPECT_EQ(error.param, "stop") << value;
  }
}

TEST_F(RequestFields, fault_086_biases) {
  for (const char* value :
       {R"({"x": 1})", R"({"": 1})", R"({"1.0": 1})", R"({"-1": 1})", R"({" 1": 1})", R"({"1": "2"})", R"({"1": true})",
        R"({"1": null})", R"({"99999999999999999999": 1})", R"({"1": 1, "01": 2})", "[1]", "1"}) {
    const HttpError error = refused(fmt::format(R"({{"logit_bias": {}}})", value));
    EXPECT_EQ(error.status, 400) << value;
    EXPECT_EQ(error.param, "logit_bias") << value;
  }
}

TEST_F(RequestFields, response_formats) {
  EXPECT_FALSE(read(R"({"response_format": {"type": "text"}})").structured_outputs);
  EXPECT_TRUE(read(R"({"response_format": {"type": "json_object"}})").structured_outputs->json_object);
  const auto schema = read(R"({"response_format": {"type": "json_schema", "json_schema":
      {"name": "n", "strict": true, "schema": {"type": "object", "properties": {"b": {}, "a": {}}}}}})");
  EXPECT_EQ(schema.structured_outputs->json, R"({"type":"object","properties":{"b":{},"a":{}}})");
  const auto tag = read(R"({"response_format": {"type": "structural_tag", "format": {"type": "any_text"}}})");
  EXPECT_EQ(tag.structured_outputs->structural_tag, R"({"type":"structural_tag","format":{"type":"any_text"}})");

  const struct {
    const char *format, *param;
  } bad[] = {{R"("json_object")", "response_format"},
             {"{}", "response_format.type"},
             {R"({"type": "xml"})", "response_format.type"},
             {R"({"type": 1})", "response_format.type"},
             {R"({"type": "json_schema"})", "response_format.json_schema"},
             {R"({"type": "json_schema", "json_schema": {}})", "response_format.json_schema.schema"},
             {R"({"type": "json_schema", "json_schema": {"schema": [1]}})", "response_format.json_schema.schema"}};
  for (const auto& [format, param] : bad) {
    const HttpError error = refused(fmt::format(R"({{"response_format": {}}})", format));
    EXPECT_EQ(error.status, 400) << format;
    EXPECT_EQ(error.param, param) << format;
  }
}

TEST_F(RequestFields, structured_outputs_old_and_new) {
  for (const char* name : {"json", "regex", "grammar"}) {
    const StructuredOutputs now =
        *read(fmt::format(R"({{"structured_outputs": {{"{}": "x"}}}})", name)).structured_outputs;
    const StructuredOutputs old = *read(fmt::format(R"({{"guided_{}": "x"}})", name)).structured_outputs;
    for (const StructuredOutputs& s : {now, old}) {
      EXPECT_EQ(s.json.value_or("") + s.regex.value_or("") + s.grammar.value_or(""), "x") << name;
    }
    EXPECT_EQ(now.json, old.json);
    EXPECT_EQ(now.regex, old.regex);
  }
  EXPECT_THAT(read(R"({"guided_choice": ["a", "b"]})").structured_outputs->choice, ElementsAre("a", "b"));
  EXPECT_EQ(read(R"({"guided_json": {"type": "null"}})").structured_outputs->json, R"({"type":"null"})");
  const auto all = read(R"({"structured_outputs": {"json_object": true, "disable_any_whitespace": true,
      "disable_additional_properties": true, "regex": null}})");
  EXPECT_TRUE(all.structured_outputs->json_object);
  EXPECT_TRUE(all.structured_outputs->disable_any_whitespace);
  EXPECT_TRUE(all.structured_outputs->disable_additional_properties);

  for (const char* json : {R"({"structured_outputs": {}})", R"({"structured_outputs": {"regex": "a", "grammar": "b"}})",
                           R"({"structured_outputs": {"choice": []}})", R"({"structured_outputs": {"regex": 1}})",
                           R"({"structured_outputs": {"regex": "a", "whitespace_pattern": " "}})",
                           R"({"structured_outputs": "json"})", R"({"guided_regex": "a", "guided_json": {}})",
                           R"({"guided_regex": "a", "response_format": {"type": "json_object"}})"}) {
    EXPECT_EQ(refused(json).status, 400) << json;
  }
}

TEST_F(RequestFields, models) {
  const auto model = [](const char* json) {
    const Json body = Json::parse(json);
    return requested_model(context(), Fields(body));
  };
  EXPECT_EQ(model("{}"), "tiny");
  EXPECT_EQ(model(R"({"model": ""})"), "tiny");
  EXPECT_EQ(model(R"({"model": "alias"})"), "tiny");
  for (const char* json : {R"({"model": "other"})", R"({"model": "../tiny"})"}) {
    const HttpError error = refusal([&] { model(json); });
    EXPECT_EQ(error.status, 404) << json;
    EXPECT_EQ(error.param, "model");
  }
  EXPECT_EQ(refusal([&] { model(R"({"model": 1})"); }).status, 400);
}

TEST_F(RequestFields, places_are_named) {
  const Json body = Json::parse(R"({"a": {"b": "x"}, "list": ["x", 1]})");
  const Fields outer(body);
  const HttpError error = refusal([&] { Fields(*outer.object("a"), outer.path("a.")).whole_number("b"); });
  EXPECT_EQ(error.param, "a.b");
  EXPECT_THAT(error.message, HasSubstr("a.b: must be a whole number of 64 bits (got 'x')"));
  EXPECT_THAT(refusal([&] { outer.texts("list"); }).message, HasSubstr("got 1 at 1"));
  EXPECT_THAT(refusal([&] { outer.whole_number("a"); }).message, HasSubstr("an object"));
}

TEST_F(RequestFields, ids_of_answers) {
  const HttpRequest request = testing::json_request("{}");
  const auto id = [&](const char* json) {
    const Json body = Json::parse(json);
    return answer_id("cmpl-", request, Fields(body));
  };
  EXPECT_EQ(id("{}"), "cmpl-abc");
  EXPECT_EQ(id(R"({"request_id": "mine"})"), "cmpl-mine");
  EXPECT_EQ(refusal([&] { id(Json{{"request_id", std::string(129, 'x')}}.dump().c_str()); }).param, "request_id");
}

}  // namespace
}  // namespace packhorse::server
