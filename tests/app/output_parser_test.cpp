#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "app/output_reading.h"
#include "packhorse/packhorse.h"
#include "testing.h"

namespace packhorse::server {
namespace {

using namespace reading;

TEST(ReasoningParsers, StartAndEnd) {
  const struct {
    std::string_view parser, start, end;
  } cases[] = {{"qwen3", "<think>", "</think>"},
               {"glm45", "<think>", "</think>"},
               {"deepseek_v3", "<think>", "</think>"},
               {"deepseek_r1", "<think>", "</think>"},
               {"minimax_m2", "<think>", "</think>"},
               {"step3", "<think>", "</think>"},
               {"kimi_k2", "<think>", "</think>"},
               {"mistral", "[THINK]", "[/THINK]"},
               {"seed_oss", "<seed:think>", "</seed:think>"},
               {"granite", "Here's my thought process:", "Here is my response:"},
               {"hunyuan_a13b", "<think>\n", "\n</think>\n<answer>\n"}};
  for (const auto& [parser, start, end] : cases) {
    SCOPED_TRACE(parser);
    const std::string reasons = "\nWhy < </ [ Here is ä\n", said = "\n\nBecause <think>.\n";
    const std::string closed = reasons + std::string(end) + said;
    for (const std::string blank : {"", " \n"}) {
      const Answer answer = read(reasoning(std::string(parser)), blank + std::string(start) + closed);
      EXPECT_EQ(answer.reasoning, reasons);
      EXPECT_EQ(answer.content, said);
    }
    const Answer open = read(reasoning(std::string(parser), true), closed);
    EXPECT_EQ(open.reasoning, reasons);
    EXPECT_EQ(open.content, said);
    const Answer cut =
        read(reasoning(std::string(parser)), std::string(start) + "Why" + std::string(end).substr(0, end.size() - 1));
    EXPECT_EQ(cut.reasoning, "Why" + std::string(end).substr(0, end.size() - 1));
    EXPECT_EQ(cut.content, "");
  }
  for (const auto name : reasoning_parser_names()) {
    const bool inside =
        name == "deepseek_r1" || name == "minimax_m2" || name == "olmo3" || name == "step3" || name == "kimi_k2";
    const Answer answer = read(reasoning(std::string(name)), " \nJust <think text");
    EXPECT_EQ(inside ? answer.reasoning : answer.content, " \nJust <think text") << name;
    EXPECT_EQ(inside ? answer.content : answer.reasoning, "") << name;
  }
  EXPECT_EQ(read(reasoning("hunyuan_a13b"), "<think>\n\n</think>\n<answer>\nHi\n</answer>").content, "Hi");
  EXPECT_EQ(read(reasoning("deepseek_r1"), "</think>Hi").content, "Hi");
}

TEST(ReasoningParsers, ToolsAreLookedForBehindReasoning) {
  auto options = tools("hermes");
  options.reasoning_parser = "qwen3";
  const std::string call = R"(<tool_call>{"name": "f", "arguments": {}}</tool_call>)";
  const Answer answer = read(options, "<think>maybe " + call + "</think>\n\n" + call);
  EXPECT_EQ(answer.reasoning, "maybe " + call);
  EXPECT_EQ(answer.content, "");
  EXPECT_EQ(answer.calls.size(), 1u);

  options.tool_parser = options.reasoning_parser = "kimi_k2";
  const Answer kimi = read(
      options,
      "hm <|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{}<|tool_call_end|>");
  EXPECT_EQ(kimi.reasoning, "hm ");
  ASSERT_EQ(kimi.calls.size(), 1u);
  options.tool_parser = "qwen3_coder";
  options.reasoning_parser = "qwen3";
  const Answer qwen = read(options, "<think>hm\n<tool_call>\n<function=f>\n</function>\n</tool_call>");
  EXPECT_EQ(qwen.reasoning, "hm\n");
  ASSERT_EQ(qwen.calls.size(), 1u);
}

TEST(ReasoningParsers, ConstrainedContentIsAllThatFollows) {
  const auto constrained = [](std::string name, bool open = false) {
    OutputParserOptions options = reasoning(std::move(name), open);
    options.is_constrained = true;
    return options;
  };
  for (const std::string text : {" <think>x</think>y", "\n{}", "<thin"}) {
    EXPECT_EQ(read(constrained("qwen3"), text).content, text);
  }
  EXPECT_EQ(read(constrained("qwen3"), "<think>x</think>\ny").content, "\ny");
  EXPECT_EQ(read(constrained("qwen3", true), "x</think>y").content, "y");
  EXPECT_EQ(read(constrained("deepseek_r1"), "\n<think>x</think>y").reasoning, "x");
  EXPECT_EQ(read(constrained("kimi_k2"), "x<|tool_calls_section_begin|>y").content, "");
  EXPECT_EQ(read(constrained("hunyuan_a13b"), "<think>\nx\n</think>\n<answer>\ny\n</answer>").content, "y\n</answer>");
  EXPECT_EQ(read(constrained("qwen3"), "end</s><|im_end|>").content, "end</s><|im_end|>");

  const auto cut = make_output_parser(constrained("qwen3"));
  EXPECT_TRUE(cut->add("<thin").empty());
  const OutputDelta rest = cut->finish(/*is_cut=*/true);
  EXPECT_EQ(rest.reasoning, "<thin");
  EXPECT_EQ(rest.content, "");
}

TEST(ReasoningParsers, Marks) {
  using ::testing::ElementsAre;
  EXPECT_THAT(reasoning_marks(reasoning("qwen3")).starts, ElementsAre("<think>"));
  EXPECT_THAT(reasoning_marks(reasoning("qwen3")).ends, ElementsAre("</think>"));
  EXPECT_THAT(reasoning_marks(reasoning("qwen3", true)).starts, ElementsAre());
  EXPECT_THAT(reasoning_marks(reasoning("kimi_k2")).starts, ElementsAre());
  EXPECT_THAT(reasoning_marks(reasoning("kimi_k2")).ends, ElementsAre("</think>"));
  EXPECT_THAT(reasoning_starts("kimi_k2"), ElementsAre("<think>"));
}

TEST(OutputParsers, NamesAreChecked) {
  EXPECT_THROW(make_output_parser(tools("hermès")), Error);
  EXPECT_THROW(make_output_parser(reasoning("x")), Error);
}

TEST(OutputParsers, WhichNeedSpecialTokens) {
  EXPECT_TRUE(needs_special_tokens(tools("mistral")));
  EXPECT_TRUE(needs_special_tokens(tools("llama3_json")));
  EXPECT_FALSE(needs_special_tokens(tools("pythonic")));
  EXPECT_FALSE(needs_special_tokens({.tool_parser = "mistral", .tools = ToolMode::named}));
  EXPECT_TRUE(needs_special_tokens(reasoning("mistral")));
  EXPECT_FALSE(needs_special_tokens(reasoning("granite")));
  EXPECT_FALSE(needs_special_tokens({}));
}

/// A megabyte of what makes a parser look twice at everything. Anything but linear work runs into the test's limit.
TEST(OutputParsers, LongTextsTakeLinearTime) {
  const auto repeated = [](std::string_view part) {
    std::string text;
    while (text.size() < (size_t{1} << 20)) text += part;
    return text;
  };
  const std::vector<std::pair<std::string, std::string>> cases{
      {"hermes", repeated("<tool_call>")},
      {"hermes", repeated("<tool_call>{\"a")},
      {"hermes", "<tool_call>{\"name\": \"" + repeated("<tool_call>")},
      {"hermes", "<tool_call>" + repeated("{\"name\": \"f\", ")},
      {"hermes", "<think>" + repeated("</thin\n")},
      {"hermes", repeated(" \n")},
      {"hermes", repeated("<|im_end|>")},
      {"llama3_json", "{" + repeated("\"name\": \"f\", ")},
      {"llama3_json", repeated("{\"name\": \"f\", \"parameters\": {}};")},
      {"mistral", "[TOOL_CALLS]" + repeated("[TOOL_CALLS]f{\"a\": 1}")},
      {"deepseek_v3", repeated("<｜tool▁calls▁begin｜>")},
      {"pythonic", "[f(a='" + repeated("[f(a='")},
      {"pythonic", "[" + repeated("f(a=1), ")},
      {"qwen3_coder", "<function=f>" + repeated("<parameter=a>")},
      {"qwen3_coder", "<function=f>" + repeated("<parameter=a>") + "</function>"},
      {"qwen3_coder", "<function=f>" + repeated("<parameter=a>x</parameter>") + "</function>"},
      {"qwen3_coder", repeated("<function=f><function=")},
      {"glm45", "<tool_call>f" + repeated("<arg_key>") + "</tool_call>"},
      {"glm45", "<tool_call>" + repeated("f")},
  };
  for (const auto& [parser, text] : cases) {
    auto options = tools(parser);
    options.reasoning_parser = "qwen3";
    std::vector<std::string_view> bytes;
    for (size_t i = 0; i < text.size(); ++i) bytes.push_back(std::string_view(text).substr(i, 1));
    const auto whole = shown(read_pieces(options, {text}));
    EXPECT_TRUE(shown(read_pieces(options, bytes)) == whole) << parser << " " << text.substr(0, 40);
  }
}

nlohmann::json templates_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file).at("templates");
}

TEST(OutputParsers, ChatTemplatesSuggestAParser) {
  const std::map<std::string, std::pair<std::string, std::string>> expected{
      {"llama3.1-tools", {"llama3_json", ""}},
      {"mistral-v3-tools", {"mistral", ""}},
      {"qwen2.5-tools", {"hermes", ""}},
      {"qwen3-thinking", {"hermes", "qwen3"}},
      {"deepseek-r1", {"deepseek_v3", "deepseek_r1"}},
      {"phi", {"phi4_mini_json", ""}}};
  auto all = templates_of(PACKHORSE_SOURCE_DIR "/tests/golden/chat_templates.json");
  const auto more = testing::shared_dir() / "goldens/chat_templates.json";
  if (std::filesystem::exists(more)) {
    for (const auto& one : templates_of(more)) all.push_back(one);
  }
  for (const auto& one : all) {
    const auto found = expected.find(one.at("name"));
    const auto [tool, reason] = found == expected.end() ? std::pair<std::string, std::string>{} : found->second;
    EXPECT_EQ(tool_parser_of_template(one.at("template").get<std::string>()), tool) << one.at("name");
    EXPECT_EQ(reasoning_parser_of_template(one.at("template").get<std::string>()), reason) << one.at("name");
  }
  EXPECT_EQ(tool_parser_of_template("'<tool_call>\\n<function=f>\\n<parameter=p>'"), "qwen3_coder");
  EXPECT_EQ(tool_parser_of_template("<tool_call>{name}<arg_key>"), "glm45");
  EXPECT_EQ(reasoning_parser_of_template("[THINK]...[/THINK]"), "mistral");
}

}  // namespace
}  // namespace packhorse::server
