#include "app/server/output_parser.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "app/server/parsers/marker_matcher.h"
#include "app/server/parsers/reasoning_stage.h"
#include "app/server/parsers/tool_families.h"
#include "app/server/parsers/tool_stage.h"

namespace packhorse::server {

namespace {

/// Special tokens that end an answer: nobody wants to see them where they were not skipped for the markers' sake.
class TailFilter {
 public:
  std::string add(std::string_view text) {
    std::string passed;
    for (const char c : text) {
      text_.clear();
      const int token = tokens_.feed(c, text_);
      if (!text_.empty()) passed += std::exchange(tail_, {}) + text_;
      if (token >= 0) tail_ += kTokens[static_cast<size_t>(token)];
    }
    return passed;
  }
  std::string finish() {
    const std::string held = tokens_.take();
    return held.empty() ? "" : tail_ + held;
  }

 private:
  static const std::vector<std::string_view> kTokens;
  MarkerMatcher tokens_{kTokens};
  std::string tail_, text_;
};

const std::vector<std::string_view> TailFilter::kTokens{
    "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>", "</s>",       "<｜end▁of▁sentence｜>",
    "<|end|>",    "<|user|>",   "<|observation|>", "<|eot|>",    "<|eom|>",       "<seed:eos>", "<end_of_turn>",
};

std::unique_ptr<ContentStage> content_stage(const OutputParserOptions& options) {
  const IdStyle ids = options.tool_parser.empty() ? IdStyle::hex : tool_family(options.tool_parser).ids;
  switch (options.tools) {
    case ToolMode::parsed:
      if (options.tool_parser.empty()) break;
      return std::make_unique<ToolStage>(tool_family(options.tool_parser), ids, options.tools_json);
    case ToolMode::required:
      return std::make_unique<ToolStage>(required_calls(), ids, "");
    case ToolMode::named:
      return std::make_unique<NamedCallStage>(options.tool_name, ids);
    case ToolMode::none:
      break;
  }
  return std::make_unique<PlainStage>();
}

class StagedParser : public OutputParser {
 public:
  explicit StagedParser(const OutputParserOptions& options) : content_(content_stage(options)) {
    // A match has no special tokens; what looks like one is text.
    if (needs_special_tokens(options) && !options.is_constrained) tail_.emplace();
    if (options.reasoning_parser.empty()) return;
    reasoning_.emplace(reasoning_family(options.reasoning_parser), options.reasoning_open, options.is_constrained,
                       *content_);
  }

  OutputDelta add(std::string_view text) override {
    OutputDelta out;
    pass(tail_ ? std::string_view(filtered_ = tail_->add(text)) : text, out);
    return out;
  }
  OutputDelta finish(bool is_cut) override {
    OutputDelta out;
    if (tail_) pass(tail_->finish(), out);
    reasoning_ ? reasoning_->finish(out, is_cut) : content_->finish(out);
    return out;
  }

 private:
  void pass(std::string_view text, OutputDelta& out) {
    reasoning_ ? reasoning_->add(text, out) : content_->add(text, out);
  }

  std::unique_ptr<ContentStage> content_;
  std::optional<ReasoningStage> reasoning_;
  std::optional<TailFilter> tail_;
  std::string filtered_;
};

template <class Family>
std::vector<std::string_view> names_of(const std::vector<Family>& families) {
  std::vector<std::string_view> names(families.size());
  std::ranges::transform(families, names.begin(), [](const Family& family) { return family.name; });
  std::ranges::sort(names);
  return names;
}

}  // namespace

std::unique_ptr<OutputParser> make_output_parser(const OutputParserOptions& options) {
  return std::make_unique<StagedParser>(options);
}

ReasoningMarks reasoning_marks(const OutputParserOptions& options) {
  const ReasoningFamily& family = reasoning_family(options.reasoning_parser);
  ReasoningMarks marks{.starts = family.starts, .ends = family.ends};
  if (options.reasoning_open || family.begins_inside) marks.starts.clear();
  return marks;
}

const std::vector<std::string_view>& reasoning_starts(std::string_view reasoning_parser) {
  return reasoning_family(reasoning_parser).starts;
}

const std::vector<std::string_view>& tool_parser_names() {
  static const auto names = names_of(tool_families());
  return names;
}

const std::vector<std::string_view>& reasoning_parser_names() {
  static const auto names = names_of(reasoning_families());
  return names;
}

bool needs_special_tokens(const OutputParserOptions& options) {
  const bool for_tools = options.tools == ToolMode::parsed && !options.tool_parser.empty() &&
                         tool_family(options.tool_parser).special_tokens;
  return for_tools || (!options.reasoning_parser.empty() && reasoning_family(options.reasoning_parser).special_tokens);
}

}  // namespace packhorse::server
