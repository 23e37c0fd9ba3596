#pragma once
// What a model's text means: reasoning, content or tool calls, told apart while it streams.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace packhorse::server {

/// News of one tool call. `name` and `id` come once, whole, with the first delta of an index; arguments in pieces that
/// together are one JSON text.
struct ToolCallDelta {
  int index = 0;
  std::string id, name, arguments;
};

struct OutputDelta {
  std::string reasoning, content;
  std::vector<ToolCallDelta> tool_calls;
  bool empty() const { return reasoning.empty() && content.empty() && tool_calls.empty(); }
};

/// One answer, read in order. Text that may still become a marker is held back until that is decided.
class OutputParser {
 public:
  virtual ~OutputParser() = default;
  virtual OutputDelta add(std::string_view text) = 0;
  /// The end of the answer: what was held back. `is_cut`: the model would have gone on.
  virtual OutputDelta finish(bool is_cut = false) = 0;
};

/// How tool calls are found in an answer.
enum class ToolMode {
  none,      // no tools, or tool_choice "none": all is content
  parsed,    // "auto": by the family's own notation
  required,  // the answer is constrained to a JSON array of {"name", "parameters"}
  named,     // ... to the arguments of the one tool that was named
};

struct OutputParserOptions {
  std::string tool_parser{};       // "hermes", "llama3_json", ...
  std::string reasoning_parser{};  // "qwen3", "deepseek_r1", ...; empty = no reasoning is told apart
  ToolMode tools = ToolMode::none;
  std::string tool_name{};   // of ToolMode::named
  std::string tools_json{};  // the request's list as JSON text: types of values where a notation writes none; or empty
  bool reasoning_open = false;  // the prompt ends inside of reasoning
  bool is_constrained = false;  // what follows the reasoning has to match something, and is nothing but that
};
std::unique_ptr<OutputParser> make_output_parser(const OutputParserOptions& options);

/// What reasoning begins and ends with where an answer is constrained. Without starts the answer is inside from its
/// first byte on, with some it has to begin with one of them to hold reasoning.
struct ReasoningMarks {
  std::vector<std::string_view> starts, ends;
};
/// Of options with a reasoning parser.
ReasoningMarks reasoning_marks(const OutputParserOptions& options);

/// What reasoning may begin with in the notation of a parser, wherever the prompt ends.
const std::vector<std::string_view>& reasoning_starts(std::string_view reasoning_parser);

/// Names for --tool-call-parser and --reasoning-parser.
const std::vector<std::string_view>& tool_parser_names();
const std::vector<std::string_view>& reasoning_parser_names();
/// The parsers that a chat template's text suggests; empty when nothing does.
std::string tool_parser_of_template(std::string_view chat_template);
std::string reasoning_parser_of_template(std::string_view chat_template);

/// Whether the parser reads special tokens, so that they must not be skipped when output is decoded.
bool needs_special_tokens(const OutputParserOptions& options);

}  // namespace packhorse::server
