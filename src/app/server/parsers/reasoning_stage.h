#pragma once
// Reasoning at the beginning of an answer, told apart from what follows.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/server/parsers/marker_matcher.h"
#include "app/server/parsers/tool_stage.h"

namespace packhorse::server {

struct ReasoningFamily {
  std::string_view name;
  std::vector<std::string_view> starts{}, ends{};
  std::vector<std::string_view> content_starts{};  // end reasoning as well, and belong to what follows
  std::string_view content_end{};                  // after the content, and no part of it
  bool begins_inside = false;                      // the answer is reasoning even without a start
  bool special_tokens = true;                      // markers may be special tokens
};

const std::vector<ReasoningFamily>& reasoning_families();
/// Throws Error{usage} for a name that is none.
const ReasoningFamily& reasoning_family(std::string_view name);

/// A start counts at the beginning of the text alone, behind blanks at most. Where content is constrained, blanks are
/// content, and nothing but an end leads to it or comes off it.
class ReasoningStage {
 public:
  ReasoningStage(const ReasoningFamily& family, bool is_open, bool is_constrained, ContentStage& content);
  void add(std::string_view text, OutputDelta& out);
  void finish(OutputDelta& out, bool is_cut);

 private:
  enum class Where { start, reasoning, content };
  void in_start(char c, OutputDelta& out);
  void in_reasoning(char c, OutputDelta& out);
  void in_content(std::string_view text, OutputDelta& out);
  void start_missing(OutputDelta& out);

  const ReasoningFamily& family_;
  bool is_open_, is_constrained_, skips_blanks_;
  ContentStage& content_;
  Where where_ = Where::start;
  std::string blanks_, opening_;
  MarkerMatcher ends_;  // ends, then content_starts unless constrained
  std::optional<MarkerMatcher> content_end_;
};

}  // namespace packhorse::server
