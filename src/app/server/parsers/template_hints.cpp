// Which notations a chat template's text gives away.

#include <algorithm>

#include "app/server/output_parser.h"

namespace packhorse::server {

namespace {

struct Hint {
  std::vector<std::string_view> texts;  // all of them are there
  std::string_view parser;
};

std::string first_hint(const std::vector<Hint>& hints, std::string_view chat_template) {
  for (const auto& hint : hints) {
    const auto found = [&](std::string_view text) { return chat_template.find(text) != chat_template.npos; };
    if (std::all_of(hint.texts.begin(), hint.texts.end(), found)) return std::string(hint.parser);
  }
  return "";
}

}  // namespace

// The rarer a text is, the earlier it is asked for: <tool_call> means half a dozen notations.
std::string tool_parser_of_template(std::string_view chat_template) {
  static const std::vector<Hint> kHints{
      {{"[TOOL_CALLS]"}, "mistral"},
      {{"<｜tool▁call▁begin｜>"}, "deepseek_v3"},
      {{"<|tool_calls_section_begin|>"}, "kimi_k2"},
      {{"<seed:tool_call>"}, "seed_oss"},
      {{"<minimax:tool_call>"}, "minimax_m2"},
      {{"<longcat_tool_call>"}, "longcat"},
      {{"<function=", "<parameter="}, "qwen3_coder"},
      {{"<arg_key>", "<tool_call>"}, "glm45"},
      {{"<|action_start|>", "<|plugin|>"}, "internlm"},
      {{"<|tool_call|>", "<|start_of_role|>"}, "granite"},
      {{"<function_call>"}, "granite-20b-fc"},
      {{"<|tool|>", "<|/tool|>"}, "phi4_mini_json"},
      {{"functools["}, "phi4_mini_json"},
      {{"[func_name1(", "<|header_start|>"}, "llama4_pythonic"},
      {{"[func_name1("}, "pythonic"},
      {{"<tool_calls>", "<answer>"}, "hunyuan_a13b"},
      {{"<tool_calls>"}, "jamba"},
      {{"<tool_call>"}, "hermes"},
      {{"{\"name\": function name, \"parameters\": dictionary", "<|header_start|>"}, "llama4_json"},
      {{"{\"name\": function name, \"parameters\": dictionary"}, "llama3_json"},
      {{"<|python_tag|>"}, "llama3_json"},
  };
  return first_hint(kHints, chat_template);
}

std::string reasoning_parser_of_template(std::string_view chat_template) {
  static const std::vector<Hint> kHints{
      {{"[THINK]"}, "mistral"},
      {{"<seed:think>"}, "seed_oss"},
      {{"Here is my thought process:"}, "granite"},
      {{"</think>", "<|tool_calls_section_begin|>"}, "kimi_k2"},
      {{"</think>", "<minimax:tool_call>"}, "minimax_m2"},
      {{"</think>", "<answer>"}, "hunyuan_a13b"},
      // V3.1 and later think when they are asked to, R1 and its distillations always.
      {{"</think>", "<｜Assistant｜>", "thinking"}, "deepseek_v3"},
      {{"</think>", "<｜Assistant｜>"}, "deepseek_r1"},
      {{"</think>", "<arg_key>"}, "glm45"},
      {{"</think>"}, "qwen3"},
      {{"<think>"}, "qwen3"},
  };
  return first_hint(kHints, chat_template);
}

}  // namespace packhorse::server
