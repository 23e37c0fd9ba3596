#include "app/server/parsers/call_sink.h"

#include <fmt/format.h>

#include <iterator>
#include <random>
#include <utility>

namespace packhorse::server {

namespace {

std::string random_text(std::string_view alphabet, size_t n) {
  thread_local std::mt19937_64 random{std::random_device{}()};
  std::uniform_int_distribution<size_t> index(0, alphabet.size() - 1);
  std::string text;
  for (size_t i = 0; i < n; ++i) text.push_back(alphabet[index(random)]);
  return text;
}

}  // namespace

void CallSink::begin(std::string_view name, std::string_view id) {
  news_.push_back({n_calls_, id.empty() ? new_id(name) : std::string(id), std::string(name), ""});
  ++n_calls_;
  took_ = true;
}

void CallSink::arguments(std::string_view piece) {
  if (piece.empty()) return;
  if (news_.empty()) news_.push_back({n_calls_ - 1, "", "", ""});
  news_.back().arguments += piece;
  took_ = true;
}

bool CallSink::took() { return std::exchange(took_, false); }

void CallSink::move_to(OutputDelta& delta) {
  std::move(news_.begin(), news_.end(), std::back_inserter(delta.tool_calls));
  news_.clear();
}

std::string CallSink::new_id(std::string_view name) const {
  if (ids_ == IdStyle::kimi) return fmt::format("functions.{}:{}", name, n_calls_);
  if (ids_ == IdStyle::hex) return "chatcmpl-tool-" + random_text("0123456789abcdef", 32);
  return random_text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", 9);
}

}  // namespace packhorse::server
