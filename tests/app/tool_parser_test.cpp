#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "app/output_reading.h"

namespace packhorse::server {
namespace {

using namespace reading;

constexpr std::string_view kHardArguments =
    R"({"q": "a } ] \" <tool_call> ; \\", "n": [1, -2.5e3, {"ä": "日本 \u00e4"}], "e": {}})";

/// Every family that takes a JSON object, with text around for those that allow it.
struct JsonCase {
  std::string_view parser, before, between, after;  // around {"name"...} or NAME{...}
  bool head = false;                                // NAME<head>{...}
  std::string_view head_begin = "", head_end = "";
};
const std::vector<JsonCase> kJsonCases{
    {"hermes", "<tool_call>\n", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>"},
    {"longcat", "<longcat_tool_call>", "</longcat_tool_call><longcat_tool_call>", "</longcat_tool_call>"},
    {"granite-20b-fc", "<function_call> ", " <function_call> ", ""},
    {"internlm", "<|action_start|><|plugin|>", "<|action_end|><|action_start|><|plugin|>", "<|action_end|>"},
    {"granite", "<|tool_call|>[", ", ", "]"},
    {"granite", "<tool_call>[", ", ", "]"},
    {"granite", "[", ",", "]"},
    {"hunyuan_a13b", "<tool_calls>[", ", ", "]</tool_calls>"},
    {"jamba", "<tool_calls>[\n    ", ",\n    ", "\n]</tool_calls>"},
    {"phi4_mini_json", "functools[", ", ", "]"},
    {"llama3_json", "", "; ", ""},
    {"llama3_json", "<|python_tag|>", ";", "<|eom_id|>"},
    {"llama4_json", "\n\n", " ; ", ""},
    {"mistral", "[TOOL_CALLS] [", ", ", "]</s>"},
    {"mistral", "[TOOL_CALLS]", "[TOOL_CALLS]", "", true, "", ""},
    {"mistral", "[TOOL_CALLS]", "[TOOL_CALLS]", "", true, "", "[ARGS]"},
    {"mistral", "[TOOL_CALLS]", "[TOOL_CALLS]", "", true, "", "[CALL_ID]123456789[ARGS]"},
    {"deepseek_v3", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", "\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>",
     "\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>", true, "function<｜tool▁sep｜>",
     "\n```json\n"},
    {"deepseek_v31", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", "<｜tool▁call▁end｜><｜tool▁call▁begin｜>",
     "<｜tool▁call▁end｜><｜tool▁calls▁end｜>", true, "", "<｜tool▁sep｜>"},
    {"kimi_k2", "<|tool_calls_section_begin|><|tool_call_begin|>", "<|tool_call_end|><|tool_call_begin|>",
     "<|tool_call_end|><|tool_calls_section_end|>", true, "functions.", ":3<|tool_call_argument_begin|>"},
};

std::string written(const JsonCase& c, std::string_view name, std::string_view arguments,
                    std::string_view key = "arguments") {
  if (c.head) return std::string(c.head_begin) + std::string(name) + std::string(c.head_end) + std::string(arguments);
  return "{\"name\": \"" + std::string(name) + "\", \"" + std::string(key) + "\": " + std::string(arguments) + "}";
}

TEST(ToolParsers, JsonFamiliesReadSeveralCallsAsTheModelWroteThem) {
  for (const auto& c : kJsonCases) {
    SCOPED_TRACE(std::string(c.parser) + " " + std::string(c.before));
    const std::string text = std::string(c.before) + written(c, "find", kHardArguments) + std::string(c.between) +
                             written(c, "list-all", "{}", "parameters") + std::string(c.after);
    const Answer answer = read(tools(std::string(c.parser)), text);
    EXPECT_EQ(answer.content, "");
    ASSERT_EQ(answer.calls.size(), 2u);
    expect_call(answer.calls[0], "find", kHardArguments);
    expect_call(answer.calls[1], "list-all", "{}");
    EXPECT_NE(answer.calls[0].id, answer.calls[1].id);
  }
}

TEST(ToolParsers, TextAroundJsonCallsIsContent) {
  for (const auto& c : kJsonCases) {
    const bool bare = c.before.empty() || c.before == "[" || c.before == "\n\n";
    if (bare) continue;
    SCOPED_TRACE(std::string(c.parser) + " " + std::string(c.before));
    const std::string call = std::string(c.before) + written(c, "f", R"({"a": 1})") + std::string(c.after);
    if (call.ends_with("|>") || call.ends_with("</s>") || call.ends_with("｜>")) continue;  // ends the answer
    const Answer answer = read(tools(std::string(c.parser)), "Grüße.\n" + call + "\n Done.");
    EXPECT_EQ(answer.content, "Grüße.\n\n Done.");
    ASSERT_EQ(answer.calls.size(), 1u);
    expect_call(answer.calls[0], "f", R"({"a": 1})");
  }
}

TEST(ToolParsers, BrokenCallsAreContent) {
  for (const auto& c : kJsonCases) {
    SCOPED_TRACE(std::string(c.parser) + " " + std::string(c.before));
    const auto options = tools(std::string(c.parser));
    std::string plain = std::string(c.before) + "no call at all";
    if (plain.find('\n') == 0) plain = plain.substr(2);
    expect_content(options, plain);
    expect_content(options, "Say " + plain + ", really. <tool [TOOL functool");
  }
  for (const std::string_view text :
       {R"(<tool_call>{"name": 5, "arguments": {}}</tool_call>)",
        R"(<tool_call>{"name": "", "arguments": {}}</tool_call>)",
        R"(<tool_call>{"name": "f", "arguments": [1]}</tool_call>)", R"(<tool_call>{"arguments": {}}</tool_call>)",
        R"(<tool_call>{"name": "f" "arguments": {}}</tool_call>)",
        R"(<tool_call>{"name": "f", "arguments": "no object"})", R"(<tool_call>{"name": "f\q", "arguments": {}})",
        R"(<tool_call>{"name": "f")", "<tool_call>", "</tool_call>", "<tool_cal"}) {
    expect_content(tools("hermes"), text);
  }
  const Answer again = read(tools("hermes"), R"(<tool_call><tool_call>{"name": "f", "arguments": {}}</tool_call>)");
  EXPECT_EQ(again.content, "<tool_call>");
  ASSERT_EQ(again.calls.size(), 1u);
}

TEST(ToolParsers, ArgumentsThatBreakOffStayAsTheyWere) {
  const Answer cut = read(tools("hermes"), R"(<tool_call>{"name": "f", "arguments": {"a": "x)");
  ASSERT_EQ(cut.calls.size(), 1u);
  expect_call(cut.calls[0], "f", R"({"a": "x)");
  EXPECT_EQ(cut.content, "");
  const Answer broken = read(tools("hermes"), R"(<tool_call>{"name": "f", "arguments": {"a": oh}}</tool_call> Sorry)");
  ASSERT_EQ(broken.calls.size(), 1u);
  expect_call(broken.calls[0], "f", R"({"a": )");
  EXPECT_EQ(broken.content, "oh}} Sorry");
}

TEST(ToolParsers, ArgumentsGoOutWhileTheyComeIn) {
  const auto parser = make_output_parser(tools("hermes"));
  EXPECT_TRUE(parser->add(R"(<tool_call>{"name": "f", "arguments": )").empty());
  const auto first = parser->add(R"({"a": "lo)");
  ASSERT_EQ(first.tool_calls.size(), 1u);
  EXPECT_EQ(first.tool_calls[0].arguments, R"({"a": "lo)");
  const auto second = parser->add("ng");
  ASSERT_EQ(second.tool_calls.size(), 1u);
  EXPECT_EQ(second.tool_calls[0].arguments, "ng");
  EXPECT_EQ(second.tool_calls[0].name, "");
}

TEST(ToolParsers, JsonCallsInUnusualOrderAndForm) {
  const auto one = [](std::string_view object) {
    const Answer answer = read(tools("hermes"), "<tool_call>" + std::string(object) + "</tool_call>");
    EXPECT_EQ(answer.content, "") << object;
    return answer.calls.size() == 1 ? answer.calls[0].name + answer.calls[0].arguments : "no call";
  };
  EXPECT_EQ(one(R"({"arguments": {"a": [1, 2]}, "name": "f"})"), R"(f{"a": [1, 2]})");
  EXPECT_EQ(one(R"({"id": 12, "x": [null, true], "name": "f", "arguments": {}, "more": 1.5})"), "f{}");
  EXPECT_EQ(one(R"({"name": "f", "arguments": "{\"a\": 1}"})"), R"(f{"a": 1})");
  EXPECT_EQ(one(R"({"name": "f", "arguments": null})"), "f{}");
  EXPECT_EQ(one(R"({"name": "f"})"), "f{}");
  EXPECT_EQ(one("{\"name\": \"f\", \"arguments\": {\"code\": \"a\n\tb\"}}"), R"(f{"code": "a\n\u0009b"})");
}

TEST(ToolParsers, JsonAnswersAreNoCallsWithoutAMarker) {
  for (const std::string_view text : {R"({"title": "x", "name": "f", "parameters": {}})", R"({"name": "Bob"})",
                                      R"({"name": "Bob", "age": 5})", "{}", "{ not json"}) {
    expect_content(tools("llama3_json"), text);
  }
  for (const std::string_view text : {"[1, 2]", "[]", "[link](https://x.org)", "[[a]]", R"([{"city": "Rome"}])"}) {
    for (const char* parser : {"granite", "pythonic", "llama4_pythonic"}) expect_content(tools(parser), text);
  }
  const auto parser = make_output_parser(tools("llama3_json"));
  EXPECT_EQ(parser->add(R"({"title": )").content, R"({"title")"
                                                  ": ")
      << "held back for longer than needed";
}

TEST(ToolParsers, Ids) {
  const auto id = [](const OutputParserOptions& options, std::string_view text) {
    const auto calls = read(options, text).calls;
    return calls.empty() ? "" : calls[0].id;
  };
  const std::regex hex("chatcmpl-tool-[0-9a-f]{32}"), mistral("[0-9A-Za-z]{9}");
  EXPECT_TRUE(std::regex_match(id(tools("hermes"), R"(<tool_call>{"name": "f"}</tool_call>)"), hex));
  EXPECT_TRUE(std::regex_match(id(tools("mistral"), "[TOOL_CALLS]f{}"), mistral));
  EXPECT_EQ(id(tools("kimi_k2"), "<|tool_call_begin|>functions.f:7<|tool_call_argument_begin|>{}"), "functions.f:7");
  EXPECT_EQ(id(tools("kimi_k2"), "<|tool_call_begin|>f<|tool_call_argument_begin|>{}"), "functions.f:0");
  auto named = tools("mistral");
  named.tools = ToolMode::named;
  named.tool_name = "f";
  EXPECT_TRUE(std::regex_match(id(named, "{}"), mistral));
  named.tools = ToolMode::required;
  named.tool_parser = "kimi_k2";
  EXPECT_EQ(id(named, R"([{"name": "f", "parameters": {}}])"), "functions.f:0");
}

TEST(ToolParsers, PythonCalls) {
  const auto call = [](std::string_view text) {
    const Answer answer = read(tools("pythonic"), "[" + std::string(text) + "]");
    if (answer.calls.size() != 1) return std::string("no call");
    EXPECT_EQ(answer.content, "") << text;
    EXPECT_TRUE(nlohmann::json::accept(answer.calls[0].arguments)) << answer.calls[0].arguments;
    return answer.calls[0].name + answer.calls[0].arguments;
  };
  EXPECT_EQ(call("f()"), "f{}");
  EXPECT_EQ(call("a.f-1(x=1,)"), R"(a.f-1{"x": 1})");
  EXPECT_EQ(call(R"(f(a=1, b="x)]}'", c=-2.5e-3))"), R"(f{"a": 1, "b": "x)]}'", "c": -2.5e-3})");
  EXPECT_EQ(call(R"(f(a=True, b=False, c=None, d=[1, [2.]], e={'k': .5, "j": {}}, f=true))"),
            R"(f{"a": true, "b": false, "c": null, "d": [1, [2.0]], "e": {"k": 0.5, "j": {}}, "f": true})");
  EXPECT_EQ(call(R"(f(s='it\'s\n\x41\u00e4\U0001F600 "q" äö'))"), R"(f{"s": "it's\nAä😀 \"q\" äö"})");
  EXPECT_EQ(call("f(s='''two\nlines''')"), R"(f{"s": "two\nlines"})");
  for (const std::string_view bad : {"f(1)", "f(a=g())", "f(a=1, a=2)", "f(a=01)", "f(a=b)", "f(a={1: 2})",
                                     "f(a=(1, 2))", "f(a='\\ud800')", "f(a=1"}) {
    EXPECT_EQ(call(bad), "no call") << bad;
    expect_content(tools("pythonic"), "[" + std::string(bad) + "]");
  }
  const Answer two = read(tools("llama4_pythonic"), "<|python_start|>[f(a=1), g(b='x')]<|python_end|>\nDone");
  ASSERT_EQ(two.calls.size(), 2u);
  expect_call(two.calls[1], "g", R"({"b": "x"})");
  EXPECT_EQ(two.content, "\nDone");
  const Answer half = read(tools("pythonic"), "[f(a=1), g(b=oops)] x");
  ASSERT_EQ(half.calls.size(), 1u);
  EXPECT_EQ(half.content, ", g(b=oops)] x");
}

constexpr std::string_view kTools = R"([{"type": "function", "function": {"name": "f", "parameters": {"properties": {
  "text": {"type": "string"}, "optional": {"anyOf": [{"type": "string"}, {"type": "null"}]},
  "half_open": {"anyOf": [{"type": "string"}, {"$ref": "#/x"}]}, "count": {"type": "integer"}, "size": {"type": "number"}, "on": {"type": "boolean"},
  "list": {"type": "array"}, "map": {"type": "object"}, "maybe": {"type": ["string", "null"]}}}}}])";

TEST(ToolParsers, TaggedValuesHaveTheTypesOfTheSchema) {
  auto options = tools("qwen3_coder");
  options.tools_json = kTools;
  const auto value = [&](std::string_view key, std::string_view text) {
    const Answer answer = read(options, "<tool_call>\n<function=f>\n<parameter=" + std::string(key) + ">\n" +
                                            std::string(text) + "\n</parameter>\n</function>\n</tool_call>");
    if (answer.calls.size() != 1) return nlohmann::json("no call");
    EXPECT_EQ(answer.content, "");
    return nlohmann::json::parse(answer.calls[0].arguments).at(std::string(key));
  };
  EXPECT_EQ(value("text", "5"), "5");
  EXPECT_EQ(value("optional", "5"), "5");
  EXPECT_EQ(value("optional", "None"), nullptr);
  EXPECT_EQ(value("half_open", "5"), 5);
  EXPECT_EQ(value("text", "\n a \"b\" \\n <x> {\n"), "\n a \"b\" \\n <x> {\n");
  EXPECT_EQ(value("count", "5"), 5);
  EXPECT_EQ(value("count", "5.5"), "5.5");
  EXPECT_EQ(value("size", "5"), 5);
  EXPECT_EQ(value("size", "-1e3"), -1e3);
  EXPECT_EQ(value("on", "True"), true);
  EXPECT_EQ(value("on", "maybe"), "maybe");
  EXPECT_EQ(value("list", "[1, {\"a\": 2}]"), nlohmann::json::parse("[1, {\"a\": 2}]"));
  EXPECT_EQ(value("map", "[1]"), "[1]");
  EXPECT_EQ(value("maybe", "null"), nullptr);
  EXPECT_EQ(value("maybe", "12"), "12");
  EXPECT_EQ(value("unknown", "12"), 12);
  EXPECT_EQ(value("unknown", "12 apples"), "12 apples");
}

TEST(ToolParsers, TaggedFamilies) {
  const struct {
    std::string_view parser, text;
  } cases[] = {
      {"qwen3_coder",
       "<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n<parameter=b>\n2\n</parameter>\n</function>\n</"
       "tool_call>\n"
       "<tool_call>\n<function=g>\n</function>\n</tool_call>"},
      {"qwen3_xml", "<function=f><parameter=a>x<parameter=b>2</function></tool_call><function=g></function>"},
      {"seed_oss",
       "<seed:tool_call>\n<function=f>\n<parameter=a>x</parameter>\n<parameter=b>2</parameter>\n</function>\n</"
       "seed:tool_call>\n"
       "<seed:tool_call><function=g></function></seed:tool_call>"},
      {"minimax_m2",
       "<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"a\">x</parameter>\n<parameter "
       "name=\"b\">2</parameter>\n"
       "</invoke>\n<invoke name=\"g\">\n</invoke>\n</minimax:tool_call>"},
      {"glm45",
       "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>x</arg_value>\n<arg_key>b</arg_key>\n<arg_value>2</"
       "arg_value>\n</tool_call>\n"
       "<tool_call>g\n</tool_call>"},
      {"glm47",
       "<tool_call>f<arg_key>a</arg_key><arg_value>x</arg_value><arg_key>b</arg_key><arg_value>2</arg_value></"
       "tool_call>"
       "<tool_call>g</tool_call>"},
  };
  for (const auto& [parser, text] : cases) {
    SCOPED_TRACE(parser);
    const auto options = tools(std::string(parser));
    const Answer answer = read(options, "Well.\n" + std::string(text) + "\n");
    EXPECT_EQ(answer.content, "Well.\n");
    ASSERT_EQ(answer.calls.size(), 2u);
    expect_call(answer.calls[0], "f", R"({"a": "x", "b": 2})");
    expect_call(answer.calls[1], "g", "{}");
    const auto cut = text.substr(0, text.find(parser == "qwen3_xml" ? "</func" : "</"));
    expect_content(options, cut);
  }
  expect_content(tools("qwen3_coder"), "<tool_call>{\"name\": \"f\"}</tool_call>");
  expect_content(tools("qwen3_coder"), "<function=></function>");
  expect_content(tools("glm45"), "<tool_call></tool_call>");
}

TEST(ToolParsers, RequiredAndNamed) {
  OutputParserOptions options{.tool_parser = "hermes", .tools = ToolMode::required};
  const Answer answer =
      read(options, R"( [{"name": "f", "parameters": {"a": "<tool_call>"}}, {"name": "g", "parameters": {}}] )");
  EXPECT_EQ(answer.content, "");
  ASSERT_EQ(answer.calls.size(), 2u);
  expect_call(answer.calls[0], "f", R"({"a": "<tool_call>"})");
  expect_call(answer.calls[1], "g", "{}");
  EXPECT_TRUE(read(options, "[]").calls.empty());
  expect_content(options, "I will not.");
  for (const char* cut : {"[", R"([{"name": "f")", R"([{"name": "f", "parameters": )"}) {
    const Answer nothing = read(options, cut);
    EXPECT_EQ(nothing.content, "") << cut;
    EXPECT_TRUE(nothing.calls.empty()) << cut;
  }
  const Answer begun = read(options, R"([{"name": "f", "parameters": {"a": 1}}, {"name": "g", "parameters": {"b)");
  EXPECT_EQ(begun.content, "");
  ASSERT_EQ(begun.calls.size(), 2u);
  expect_call(begun.calls[0], "f", R"({"a": 1})");
  EXPECT_EQ(begun.calls[1].arguments, "{\"b");

  options = {.reasoning_parser = "qwen3", .tools = ToolMode::named, .tool_name = "f"};
  const Answer named = read(options, "<think>hm</think>{\"a\": \"\xc3\xa4\"}");
  EXPECT_EQ(named.reasoning, "hm");
  EXPECT_EQ(named.content, "");
  ASSERT_EQ(named.calls.size(), 1u);
  expect_call(named.calls[0], "f", "{\"a\": \"\xc3\xa4\"}");
  EXPECT_TRUE(read(options, "<think>hm").calls.empty()) << "what never began is no call";
}

TEST(ToolParsers, NoToolsMeansContent) {
  const std::string text = R"(<tool_call>{"name": "f", "arguments": {}}</tool_call>)";
  expect_content({.tool_parser = "hermes", .tools = ToolMode::none}, text);
  expect_content({.tools = ToolMode::parsed}, text);
  for (const auto name : tool_parser_names()) {
    expect_content(tools(std::string(name)), " \n");
    expect_content(tools(std::string(name)), "\n Plain text, 日本 [1] {2} <b>\n\n");
  }
}

TEST(ToolParsers, SpecialTokensAtTheEndAreDropped) {
  EXPECT_EQ(read(tools("hermes"), "Hi<|im_end|>").content, "Hi");
  EXPECT_EQ(read(tools("hermes"), "Hi<|im_end|> you<|im_end|><|endoftext|>").content, "Hi<|im_end|> you");
  EXPECT_EQ(read(tools("hermes"), "Hi<|im_end|><|im_").content, "Hi<|im_end|><|im_");
  EXPECT_EQ(read(tools("pythonic"), "Hi</s>").content, "Hi</s>");
}

TEST(ToolParsers, NestingIsLimited) {
  const auto nested = [](size_t n) { return "{\"a\": " + std::string(n - 1, '[') + std::string(n - 1, ']') + "}"; };
  const auto call = [](const std::string& arguments) {
    return "<tool_call>{\"name\": \"f\", \"arguments\": " + arguments + "}</tool_call>";
  };
  EXPECT_EQ(read(tools("hermes"), call(nested(64))).content, "");
  EXPECT_NE(read(tools("hermes"), call(nested(65))).content, "");
  EXPECT_EQ(read(tools("pythonic"), "[f(a=" + std::string(60, '[') + std::string(60, ']') + ")]").calls.size(), 1u);
  expect_content(tools("pythonic"), "[f(a=" + std::string(70, '[') + std::string(70, ']') + ")]");
}

}  // namespace
}  // namespace packhorse::server
