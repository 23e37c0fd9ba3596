#pragma once
// Reading answers of models in every way that they may be cut.

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/server/output_parser.h"

namespace packhorse::server::reading {

/// What a client has put together of the deltas.
struct Answer {
  std::string reasoning, content;
  std::vector<ToolCallDelta> calls;
};

inline void receive(Answer& answer, const OutputDelta& delta) {
  answer.reasoning += delta.reasoning;
  answer.content += delta.content;
  for (const auto& news : delta.tool_calls) {
    const auto n = static_cast<int>(answer.calls.size());
    if (news.index == n) {
      EXPECT_FALSE(news.name.empty());
      EXPECT_FALSE(news.id.empty());
      answer.calls.push_back(news);
      continue;
    }
    ASSERT_EQ(news.index, n - 1);
    EXPECT_TRUE(news.name.empty() && news.id.empty()) << "told twice";
    EXPECT_FALSE(news.arguments.empty());
    answer.calls.back().arguments += news.arguments;
  }
}

inline Answer read_pieces(const OutputParserOptions& options, const std::vector<std::string_view>& pieces) {
  const auto parser = make_output_parser(options);
  Answer answer;
  for (const auto piece : pieces) receive(answer, parser->add(piece));
  receive(answer, parser->finish());
  return answer;
}

/// All that may not depend on how the text was cut.
inline std::string shown(const Answer& answer) {
  std::string text = "reasoning=" + answer.reasoning + "|content=" + answer.content;
  for (const auto& call : answer.calls) text += "|" + call.name + call.arguments;
  return text;
}

/// The answer, the same for each cut in two and for single bytes.
inline Answer read(const OutputParserOptions& options, std::string_view text) {
  Answer whole = read_pieces(options, {text});
  std::vector<std::string_view> bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    bytes.push_back(text.substr(i, 1));
    EXPECT_EQ(shown(read_pieces(options, {text.substr(0, i), text.substr(i)})), shown(whole)) << "cut at " << i;
  }
  EXPECT_EQ(shown(read_pieces(options, bytes)), shown(whole)) << "byte by byte";
  return whole;
}

inline OutputParserOptions tools(std::string name) {
  return {.tool_parser = std::move(name), .tools = ToolMode::parsed};
}
inline OutputParserOptions reasoning(std::string name, bool open = false) {
  return {.reasoning_parser = std::move(name), .reasoning_open = open};
}

inline void expect_call(const ToolCallDelta& call, std::string_view name, std::string_view arguments) {
  EXPECT_EQ(call.name, name);
  EXPECT_EQ(call.arguments, arguments);
}
inline void expect_content(const OutputParserOptions& options, std::string_view text) {
  const Answer answer = read(options, text);
  EXPECT_EQ(answer.content, text);
  EXPECT_TRUE(answer.calls.empty()) << text;
}

}  // namespace packhorse::server::reading
