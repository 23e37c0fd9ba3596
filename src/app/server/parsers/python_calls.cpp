#include "app/server/parsers/python_calls.h"

#include <algorithm>

#include "app/server/parsers/json_scanner.h"
#include "app/server/parsers/python_literal.h"

namespace packhorse::server {

namespace {

bool is_name_part(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
         c == '-' || (c & 0x80) != 0;
}

}  // namespace

CallReader::State PythonCallsReader::feed(char c, CallSink& sink) {
  if (expect_ >= Expect::arguments && expect_ <= Expect::escape) return in_arguments(c, sink);
  if (is_blank(c) && expect_ != Expect::name) return State::more;
  switch (expect_) {
    case Expect::list:
      expect_ = Expect::call;
      return c == '[' ? State::more : State::broken;
    case Expect::call:
      if (c == ']' && after_comma_) return State::done;
      expect_ = Expect::name;
      [[fallthrough]];
    case Expect::name:
      call_.push_back(c);
      if (is_name_part(c)) return State::more;
      open_ = c;
      expect_ = Expect::arguments;
      return c == '(' && call_.size() > 1 ? State::more : State::broken;
    default:
      if (c == ']') return State::done;
      after_comma_ = true;
      expect_ = Expect::call;
      return c == ',' ? State::more : State::broken;
  }
}

CallReader::State PythonCallsReader::in_arguments(char c, CallSink& sink) {
  call_.push_back(c);
  if (expect_ == Expect::escape) {
    expect_ = Expect::text;
  } else if (expect_ == Expect::text) {
    if (c == '\\') expect_ = Expect::escape;
    if (c == quote_) expect_ = Expect::arguments;
  } else if (c == '"' || c == '\'') {
    quote_ = c;
    expect_ = Expect::text;
  } else if (c == '(' || c == '[' || c == '{') {
    if (open_.size() > kMaxJsonDepth) return State::broken;
    open_.push_back(c);
  } else if (c == ')' || c == ']' || c == '}') {
    if (open_.back() != (c == ')' ? '(' : c == ']' ? '[' : '{')) return State::broken;
    open_.pop_back();
    if (open_.empty() && !read_call(sink)) return State::broken;
  }
  return State::more;
}

bool PythonCallsReader::read_call(CallSink& sink) {
  const auto call = parse_python_call(call_);
  if (!call) return false;
  sink.call(call->name, call->arguments);
  call_.clear();
  expect_ = Expect::separator;
  return true;
}

}  // namespace packhorse::server
