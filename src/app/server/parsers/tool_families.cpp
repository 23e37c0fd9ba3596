#include "app/server/parsers/tool_families.h"

#include "app/server/parsers/headed_calls.h"
#include "app/server/parsers/json_calls.h"
#include "app/server/parsers/python_calls.h"
#include "packhorse/packhorse.h"

namespace packhorse::server {

namespace {

using Reader = std::unique_ptr<CallReader>;
using Start = std::string_view;

Reader read_object(Start, const ToolSchemas&) {
  return std::make_unique<JsonCallsReader>(JsonLayout::one, JsonTrust::marked);
}
/// What begins without a marker is trusted less.
template <JsonLayout kLayout>
Reader read_json(Start start, const ToolSchemas&) {
  return std::make_unique<JsonCallsReader>(kLayout, start.empty() ? JsonTrust::bare : JsonTrust::marked);
}
Reader read_required(Start, const ToolSchemas&) {
  return std::make_unique<JsonCallsReader>(JsonLayout::list, JsonTrust::marked);
}
Reader read_mistral(Start, const ToolSchemas&) { return std::make_unique<MistralCallsReader>(); }
Reader read_deepseek(Start, const ToolSchemas&) { return std::make_unique<HeadedCallReader>(kDeepseekHead); }
Reader read_kimi(Start, const ToolSchemas&) { return std::make_unique<HeadedCallReader>(kKimiHead); }
Reader read_python(Start, const ToolSchemas&) { return std::make_unique<PythonCallsReader>(); }
template <const TagNotation& kNotation>
Reader read_tagged(Start start, const ToolSchemas& schemas) {
  return std::make_unique<TaggedCallReader>(kNotation, schemas, start == kNotation.name_open);
}

std::vector<ToolFamily> make_families() {
  constexpr auto read_list = read_json<JsonLayout::list>;
  constexpr auto read_sequence = read_json<JsonLayout::sequence>;
  std::vector<ToolFamily> families{
      {.name = "hermes", .starts = {"<tool_call>"}, .closers = {"</tool_call>"}, .reader = read_object},
      {.name = "longcat",
       .starts = {"<longcat_tool_call>"},
       .closers = {"</longcat_tool_call>"},
       .reader = read_object},
      {.name = "granite-20b-fc", .starts = {"<function_call>"}, .special_tokens = false, .reader = read_object},
      {.name = "internlm",
       .starts = {"<|action_start|><|plugin|>", "<|action_start|> <|plugin|>"},
       .closers = {"<|action_end|>"},
       .reader = read_object},
      {.name = "granite",
       .starts = {"<|tool_call|>", "<tool_call>"},
       .closers = {"</tool_call>"},
       .bare = '[',
       .reader = read_list},
      {.name = "hunyuan_a13b",
       .starts = {"<tool_calls>"},
       .closers = {"</tool_calls>"},
       .special_tokens = false,
       .reader = read_list},
      {.name = "jamba", .starts = {"<tool_calls>"}, .closers = {"</tool_calls>"}, .reader = read_list},
      {.name = "phi4_mini_json", .starts = {"functools"}, .special_tokens = false, .reader = read_list},
      {.name = "llama3_json", .starts = {"<|python_tag|>"}, .bare = '{', .reader = read_sequence},
      {.name = "llama4_json", .starts = {"<|python_tag|>"}, .bare = '{', .reader = read_sequence},
      {.name = "mistral", .starts = {"[TOOL_CALLS]"}, .ids = IdStyle::mistral, .reader = read_mistral},
      {.name = "deepseek_v3",
       .starts = {"<｜tool▁call▁begin｜>"},
       .openers = {"<｜tool▁calls▁begin｜>"},
       .closers = {"```<｜tool▁call▁end｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"},
       .reader = read_deepseek},
      {.name = "kimi_k2",
       .starts = {"<|tool_call_begin|>"},
       .openers = {"<|tool_calls_section_begin|>"},
       .closers = {"<|tool_call_end|>", "<|tool_calls_section_end|>"},
       .ids = IdStyle::kimi,
       .reader = read_kimi},
      {.name = "pythonic", .bare = '[', .special_tokens = false, .reader = read_python},
      {.name = "llama4_pythonic",
       .starts = {"<|python_start|>"},
       .closers = {"<|python_end|>"},
       .bare = '[',
       .reader = read_python},
      {.name = "qwen3_coder",
       .starts = {"<tool_call>", "<function="},
       .closers = {"</tool_call>"},
       .reader = read_tagged<kQwenTags>},
      {.name = "seed_oss",
       .starts = {"<seed:tool_call>", "<function="},
       .closers = {"</seed:tool_call>"},
       .reader = read_tagged<kSeedTags>},
      {.name = "minimax_m2",
       .starts = {"<minimax:tool_call>", "<invoke name=\""},
       .closers = {"</minimax:tool_call>"},
       .reader = read_tagged<kMinimaxTags>},
      {.name = "glm45", .starts = {"<tool_call>"}, .closers = {"</tool_call>"}, .reader = read_tagged<kGlmTags>},
  };
  const auto also = [&](std::string_view name, std::string_view of) {
    for (size_t i = 0; i < families.size(); ++i) {
      if (families[i].name != of) continue;
      families.push_back(families[i]);
      families.back().name = name;
      return;
    }
  };
  also("deepseek_v31", "deepseek_v3");
  also("qwen3_xml", "qwen3_coder");
  also("glm47", "glm45");
  return families;
}

}  // namespace

const std::vector<ToolFamily>& tool_families() {
  static const std::vector<ToolFamily> families = make_families();
  return families;
}

const ToolFamily& tool_family(std::string_view name) {
  for (const auto& family : tool_families()) {
    if (family.name == name) return family;
  }
  throw Error(ErrorKind::usage, "no tool call parser \"" + printable(name) + "\"");
}

const ToolFamily& required_calls() {
  static const ToolFamily family{
      .name = "required", .bare = '[', .special_tokens = false, .is_constrained = true, .reader = read_required};
  return family;
}

}  // namespace packhorse::server
