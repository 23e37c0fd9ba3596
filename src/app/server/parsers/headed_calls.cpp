#include "app/server/parsers/headed_calls.h"

#include <algorithm>

#include "app/server/parsers/json_calls.h"

namespace packhorse::server {

namespace {

constexpr size_t kMaxHead = 512;  // bytes; a longer one is no head

bool is_name(std::string_view text) {
  const auto part = [](char c) {
    return !is_blank(c) && std::string_view("<>{}[]\"'`").find(c) == std::string_view::npos;
  };
  return !text.empty() && std::all_of(text.begin(), text.end(), part);
}

std::optional<CallHead> read_mistral(std::string_view before, std::string_view after) {
  std::string_view name = before.substr(0, before.find("[CALL_ID]"));
  name = trimmed(name);
  if (!is_name(name) || !trimmed(after).empty()) return {};
  return CallHead{std::string(name), ""};
}

/// V3 and R1 write "function<sep>NAME\n```json\n", V3.1 writes "NAME<sep>".
std::optional<CallHead> read_deepseek(std::string_view before, std::string_view after) {
  before = trimmed(before);
  after = trimmed(after);
  if (!after.empty()) {
    const size_t end = std::min(after.find('\n'), after.size());
    const std::string_view fence = trimmed(after.substr(end));
    if (!fence.empty() && fence != "```json" && fence != "```") return {};
    before = trimmed(after.substr(0, end));
  }
  if (!is_name(before)) return {};
  return CallHead{std::string(before), ""};
}

/// "functions.NAME:INDEX" names the call; it is its id too.
std::optional<CallHead> read_kimi(std::string_view before, std::string_view after) {
  const std::string_view id = trimmed(before);
  std::string_view name = id.substr(0, id.rfind(':'));
  name.remove_prefix(name.starts_with("functions.") ? std::string_view("functions.").size() : 0);
  if (!is_name(name) || !trimmed(after).empty()) return {};
  return CallHead{std::string(name), id.find(':') == id.npos ? "" : std::string(id)};
}

}  // namespace

const HeadNotation kMistralHead{"[ARGS]", true, read_mistral};
const HeadNotation kDeepseekHead{"<｜tool▁sep｜>", false, read_deepseek};
const HeadNotation kKimiHead{"<|tool_call_argument_begin|>", false, read_kimi};

HeadedCallReader::HeadedCallReader(const HeadNotation& notation)
    : notation_(notation), separator_({notation.separator}) {}

CallReader::State HeadedCallReader::feed(char c, CallSink& sink) {
  if (begun_) return in_arguments(c, sink);
  if (c == '{' && (separated_ || notation_.separator_optional)) return begin_arguments(c, sink);
  if (separated_) {
    after_.push_back(c);
  } else if (separator_.feed(c, before_) >= 0) {
    separated_ = true;
  }
  return before_.size() + after_.size() > kMaxHead ? State::broken : State::more;
}

CallReader::State HeadedCallReader::begin_arguments(char c, CallSink& sink) {
  before_ += separator_.take();
  const auto head = notation_.read(before_, after_);
  if (!head) return State::broken;
  sink.begin(head->name, head->id);
  begun_ = true;
  return in_arguments(c, sink);
}

CallReader::State HeadedCallReader::in_arguments(char c, CallSink& sink) {
  std::string piece;
  scanner_.append_json(piece, c);
  const auto step = scanner_.feed(c);
  if (step == JsonScanner::Step::bad) return State::broken;
  sink.arguments(piece);
  return step == JsonScanner::Step::last ? State::done : State::more;
}

CallReader::State MistralCallsReader::feed(char c, CallSink& sink) {
  if (!reader_) {
    if (is_blank(c)) return State::more;
    if (c == '[') {
      reader_ = std::make_unique<JsonCallsReader>(JsonLayout::list, JsonTrust::marked);
    } else if (c == '{') {
      reader_ = std::make_unique<JsonCallsReader>(JsonLayout::one, JsonTrust::marked);
    } else {
      reader_ = std::make_unique<HeadedCallReader>(kMistralHead);
    }
  }
  return reader_->feed(c, sink);
}

}  // namespace packhorse::server
