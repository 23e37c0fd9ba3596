#include "app/server/parsers/json_calls.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace packhorse::server {

using State = CallReader::State;
using Step = JsonScanner::Step;

namespace {

/// Content of a JSON string; nothing for what UTF-8 or escapes of half a character make impossible.
std::optional<std::string> decode_string(const std::string& json) {
  const auto value = nlohmann::json::parse(json, nullptr, false);
  if (!value.is_string()) return {};
  return value.get<std::string>();
}

}  // namespace

State JsonCallReader::feed(char c, CallSink& sink) {
  if (expect_ == Expect::in_value) return in_value(c, sink);
  if (expect_ == Expect::in_key) {
    scanner_.append_json(text_, c);
    const Step step = scanner_.feed(c);
    if (step == Step::bad) return State::broken;
    return step == Step::last ? key_ended() : State::more;
  }
  if (is_blank(c)) return State::more;
  switch (expect_) {
    case Expect::object:
      expect_ = Expect::key_or_end;
      return c == '{' ? State::more : State::broken;
    case Expect::key_or_end:
      return c == '}' ? object_ended(sink) : begin_key(c);
    case Expect::key:
      return begin_key(c);
    case Expect::colon:
      expect_ = Expect::value;
      return c == ':' ? State::more : State::broken;
    case Expect::value:
      return begin_value(c, sink);
    default:
      if (c == '}') return object_ended(sink);
      expect_ = Expect::key;
      return c == ',' ? State::more : State::broken;
  }
}

State JsonCallReader::begin_key(char c) {
  if (c != '"') return State::broken;
  scanner_ = {};
  text_.clear();
  scanner_.append_json(text_, c);
  scanner_.feed(c);
  expect_ = Expect::in_key;
  return State::more;
}

State JsonCallReader::key_ended() {
  const auto key = decode_string(text_);
  if (!key) return State::broken;
  value_ = Value::other;
  if (*key == "name" && !named_) value_ = Value::name;
  if ((*key == "arguments" || *key == "parameters") && !has_arguments_) value_ = Value::arguments;
  const bool known = value_ != Value::other || *key == "type" || *key == "id";
  if (trust_ == JsonTrust::bare && !known) return State::broken;
  expect_ = Expect::colon;
  return State::more;
}

State JsonCallReader::begin_value(char c, CallSink& sink) {
  if (value_ == Value::name && c != '"') return State::broken;
  if (value_ == Value::arguments) {
    if (c != '{' && c != '"' && c != 'n') return State::broken;
    if (c != '{') value_ = Value::text_arguments;
    if (c == '{' && named_) begin_call(sink);
  }
  scanner_ = {};
  text_.clear();
  expect_ = Expect::in_value;
  return in_value(c, sink);
}

State JsonCallReader::in_value(char c, CallSink& sink) {
  std::string piece;
  scanner_.append_json(piece, c);
  const Step step = scanner_.feed(c);
  if (step == Step::bad) return State::broken;
  if (step != Step::past && value_ == Value::arguments && begun_) {
    sink.arguments(piece);
  } else if (step != Step::past && value_ != Value::other) {
    text_ += piece;
  }
  if (step == Step::more) return State::more;
  expect_ = Expect::comma_or_end;
  if (!value_ended(sink)) return State::broken;
  return step == Step::past ? feed(c, sink) : State::more;
}

bool JsonCallReader::value_ended(CallSink& sink) {
  if (value_ == Value::other) return true;
  if (value_ == Value::name) {
    auto name = decode_string(text_);
    if (!name || name->empty()) return false;
    name_ = std::move(*name);
    named_ = true;
  } else {
    has_arguments_ = true;
    if (begun_) return true;
    arguments_ = text_ == "null" ? "{}" : std::move(text_);
    if (value_ == Value::text_arguments && arguments_.front() == '"') {
      const auto text = decode_string(arguments_);
      auto object = text ? json_value(*text) : std::nullopt;
      if (!object || object->front() != '{') return false;
      arguments_ = std::move(*object);
    }
  }
  if (named_ && has_arguments_) begin_call(sink);
  return true;
}

State JsonCallReader::object_ended(CallSink& sink) {
  if (begun_) return State::done;
  if (!named_ || trust_ == JsonTrust::bare) return State::broken;
  arguments_ = "{}";
  begin_call(sink);
  return State::done;
}

void JsonCallReader::begin_call(CallSink& sink) {
  begun_ = true;
  sink.call(name_, arguments_);
}

JsonCallsReader::JsonCallsReader(JsonLayout layout, JsonTrust trust)
    : layout_(layout),
      trust_(trust),
      expect_(layout == JsonLayout::list ? Expect::list : Expect::in_call),
      call_(trust) {}

State JsonCallsReader::feed(char c, CallSink& sink) {
  if (expect_ == Expect::in_call) {
    const State state = call_.feed(c, sink);
    return state == State::done ? call_ended() : state;
  }
  if (is_blank(c)) return State::more;
  if (expect_ == Expect::list) {
    expect_ = Expect::first;
    return c == '[' ? State::more : State::broken;
  }
  if (expect_ == Expect::separator) {
    if (layout_ == JsonLayout::list && c == ']') return State::done;
    if (c == (layout_ == JsonLayout::list ? ',' : ';')) {
      expect_ = Expect::call;
      return State::more;
    }
    return layout_ == JsonLayout::list ? State::broken : State::past;
  }
  // An empty list is no call. A bare one is content then; a marked one says as much in so many words.
  if (expect_ == Expect::first && c == ']' && trust_ == JsonTrust::marked) return State::done;
  expect_ = Expect::in_call;
  call_ = JsonCallReader(trust_);
  return call_.feed(c, sink);
}

State JsonCallsReader::call_ended() {
  expect_ = Expect::separator;
  return layout_ == JsonLayout::one ? State::done : State::more;
}

bool JsonCallsReader::finish(CallSink&) {
  return expect_ == Expect::separator || expect_ == Expect::call;  // nothing but punctuation is left over
}

}  // namespace packhorse::server
