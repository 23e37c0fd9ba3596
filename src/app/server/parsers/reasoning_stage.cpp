#include "app/server/parsers/reasoning_stage.h"

#include <algorithm>
#include <utility>

#include "app/server/parsers/json_scanner.h"
#include "packhorse/packhorse.h"

namespace packhorse::server {

namespace {

std::vector<std::string_view> ends_of(const ReasoningFamily& family, bool is_constrained) {
  auto ends = family.ends;
  if (is_constrained) return ends;
  ends.insert(ends.end(), family.content_starts.begin(), family.content_starts.end());
  return ends;
}

std::vector<ReasoningFamily> make_families() {
  const ReasoningFamily think{.name = "", .starts = {"<think>"}, .ends = {"</think>"}};
  std::vector<ReasoningFamily> families;
  for (const std::string_view name : {"qwen3", "mimo", "glm45", "glm47", "deepseek_v3", "deepseek_v31", "holo2"}) {
    families.push_back(think);
    families.back().name = name;
  }
  families.front().content_starts = {"<tool_call>\n<function="};
  for (const std::string_view name : {"deepseek_r1", "minimax_m2", "olmo3", "step3", "kimi_k2"}) {
    families.push_back(think);
    families.back().name = name;
    families.back().begins_inside = true;
  }
  families.back().content_starts = {"<|tool_calls_section_begin|>"};
  families.push_back({.name = "mistral", .starts = {"[THINK]"}, .ends = {"[/THINK]"}});
  families.push_back({.name = "seed_oss", .starts = {"<seed:think>"}, .ends = {"</seed:think>"}});
  families.push_back({.name = "granite",
                      .starts = {"Here is my thought process:", "Here's my thought process:"},
                      .ends = {"Here is my response:", "Here's my response:"},
                      .special_tokens = false});
  families.push_back({.name = "hunyuan_a13b",
                      .starts = {"<think>\n"},
                      .ends = {"\n</think>\n<answer>\n"},
                      .content_end = "\n</answer>",
                      .special_tokens = false});
  return families;
}

}  // namespace

const std::vector<ReasoningFamily>& reasoning_families() {
  static const std::vector<ReasoningFamily> families = make_families();
  return families;
}

const ReasoningFamily& reasoning_family(std::string_view name) {
  for (const auto& family : reasoning_families()) {
    if (family.name == name) return family;
  }
  throw Error(ErrorKind::usage, "no reasoning parser \"" + printable(name) + "\"");
}

ReasoningStage::ReasoningStage(const ReasoningFamily& family, bool is_open, bool is_constrained, ContentStage& content)
    : family_(family),
      is_open_(is_open || family.begins_inside),
      is_constrained_(is_constrained),
      skips_blanks_(is_open_ || !is_constrained),
      content_(content),
      ends_(ends_of(family, is_constrained)) {
  if (!family.content_end.empty() && !is_constrained) content_end_.emplace(std::vector{family.content_end});
}

void ReasoningStage::add(std::string_view text, OutputDelta& out) {
  while (!text.empty() && where_ != Where::content) {
    where_ == Where::start ? in_start(text.front(), out) : in_reasoning(text.front(), out);
    text.remove_prefix(1);
  }
  if (!text.empty()) in_content(text, out);
}

void ReasoningStage::in_start(char c, OutputDelta& out) {
  if (skips_blanks_ && opening_.empty() && is_blank(c)) {
    blanks_.push_back(c);
    return;
  }
  opening_.push_back(c);
  for (const auto start : family_.starts) {
    if (!start.starts_with(opening_)) continue;
    if (start == opening_) where_ = Where::reasoning;
    return;
  }
  start_missing(out);
}

/// What was taken for a start is reasoning or content, and may hold the end.
void ReasoningStage::start_missing(OutputDelta& out) {
  where_ = is_open_ ? Where::reasoning : Where::content;
  add(std::exchange(blanks_, {}) + std::exchange(opening_, {}), out);
}

void ReasoningStage::in_reasoning(char c, OutputDelta& out) {
  const int end = ends_.feed(c, out.reasoning);
  if (end < 0) return;
  where_ = Where::content;
  const auto i = static_cast<size_t>(end);
  if (i >= family_.ends.size()) in_content(family_.content_starts[i - family_.ends.size()], out);
}

void ReasoningStage::in_content(std::string_view text, OutputDelta& out) {
  if (!content_end_) return content_.add(text, out);
  std::string content;
  for (const char c : text) content_end_->feed(c, content);
  content_.add(content, out);
}

/// Half a start is no match, if it was cut.
void ReasoningStage::finish(OutputDelta& out, bool is_cut) {
  if (where_ == Where::start && is_constrained_ && is_cut) out.reasoning += std::exchange(opening_, {});
  if (where_ == Where::start) start_missing(out);
  out.reasoning += ends_.take();
  if (content_end_) content_.add(content_end_->take(), out);
  content_.finish(out);
}

}  // namespace packhorse::server
