#include "app/server/parsers/json_scanner.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace packhorse::server {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

}  // namespace

JsonScanner::Step JsonScanner::feed(char c) {
  if (ended_) return Step::past;
  switch (expect_) {
    case Expect::string:
    case Expect::escape:
    case Expect::hex:
      return string(c);
    case Expect::literal:
      if (c != literal_left_.front()) return Step::bad;
      literal_left_.remove_prefix(1);
      return literal_left_.empty() ? value_ended() : Step::more;
    case Expect::minus:
    case Expect::zero:
    case Expect::digits:
    case Expect::point:
    case Expect::fraction:
    case Expect::exponent:
    case Expect::exponent_sign:
    case Expect::exponent_digits:
      return number(c);
    default:
      return is_blank(c) ? Step::more : structure(c);
  }
}

JsonScanner::Step JsonScanner::structure(char c) {
  switch (expect_) {
    case Expect::key_or_end:
      if (c == '}') return close(c);
      [[fallthrough]];
    case Expect::key:
      if (c != '"') return Step::bad;
      in_key_ = true;
      expect_ = Expect::string;
      return Step::more;
    case Expect::colon:
      expect_ = Expect::value;
      return c == ':' ? Step::more : Step::bad;
    case Expect::comma_or_end:
      if (c != ',') return close(c);
      expect_ = open_.back() == '{' ? Expect::key : Expect::value;
      return Step::more;
    case Expect::value_or_end:
      if (c == ']') return close(c);
      [[fallthrough]];
    default:
      return begin_value(c);
  }
}

JsonScanner::Step JsonScanner::begin_value(char c) {
  const auto literal = [&](std::string_view rest) {
    literal_left_ = rest;
    expect_ = Expect::literal;
    return Step::more;
  };
  switch (c) {
    case '{':
    case '[':
      return open(c);
    case '"':
      in_key_ = false;
      expect_ = Expect::string;
      return Step::more;
    case 't':
      return literal("rue");
    case 'f':
      return literal("alse");
    case 'n':
      return literal("ull");
    case '-':
      expect_ = Expect::minus;
      return Step::more;
    default:
      expect_ = c == '0' ? Expect::zero : Expect::digits;
      return is_digit(c) ? Step::more : Step::bad;
  }
}

JsonScanner::Step JsonScanner::open(char c) {
  if (open_.size() == kMaxJsonDepth) return Step::bad;
  open_.push_back(c);
  expect_ = c == '{' ? Expect::key_or_end : Expect::value_or_end;
  return Step::more;
}

JsonScanner::Step JsonScanner::close(char c) {
  if (open_.empty() || c != (open_.back() == '{' ? '}' : ']')) return Step::bad;
  open_.pop_back();
  return value_ended();
}

JsonScanner::Step JsonScanner::value_ended() {
  expect_ = Expect::comma_or_end;
  ended_ = open_.empty();
  return ended_ ? Step::last : Step::more;
}

JsonScanner::Step JsonScanner::string(char c) {
  if (expect_ == Expect::escape) {
    hex_left_ = 4;
    expect_ = c == 'u' ? Expect::hex : Expect::string;
    return std::string_view("\"\\/bfnrtu").find(c) == std::string_view::npos ? Step::bad : Step::more;
  }
  if (expect_ == Expect::hex) {
    if (--hex_left_ == 0) expect_ = Expect::string;
    return is_hex(c) ? Step::more : Step::bad;
  }
  if (c == '\\') expect_ = Expect::escape;
  if (c != '"') return Step::more;
  if (!in_key_) return value_ended();
  expect_ = Expect::colon;
  return Step::more;
}

JsonScanner::Step JsonScanner::number(char c) {
  const bool digit = is_digit(c);
  const bool exponent = c == 'e' || c == 'E';
  bool goes_on = false;
  switch (expect_) {
    case Expect::minus:
      goes_on = digit && go(c == '0' ? Expect::zero : Expect::digits);
      break;
    case Expect::zero:
    case Expect::digits:
      goes_on =
          (digit && expect_ == Expect::digits) || (c == '.' && go(Expect::point)) || (exponent && go(Expect::exponent));
      break;
    case Expect::point:
    case Expect::fraction:
      goes_on = (digit && go(Expect::fraction)) || (exponent && expect_ == Expect::fraction && go(Expect::exponent));
      break;
    case Expect::exponent:
      goes_on = ((c == '+' || c == '-') && go(Expect::exponent_sign)) || (digit && go(Expect::exponent_digits));
      break;
    default:
      goes_on = digit && go(Expect::exponent_digits);
  }
  if (goes_on) return Step::more;
  if (!number_may_end()) return Step::bad;
  if (value_ended() == Step::last) return Step::past;
  return feed(c);
}

bool JsonScanner::number_may_end() const {
  return expect_ == Expect::zero || expect_ == Expect::digits || expect_ == Expect::fraction ||
         expect_ == Expect::exponent_digits;
}

void JsonScanner::append_json(std::string& out, char next) const {
  const bool control = expect_ == Expect::string && static_cast<unsigned char>(next) < 0x20;
  if (!control) {
    out.push_back(next);
  } else if (next == '\n') {
    out += "\\n";
  } else {
    out += fmt::format("\\u{:04x}", static_cast<unsigned>(next));
  }
}

std::optional<std::string> json_value(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  JsonScanner scanner;
  std::string json;
  for (const char c : text) {
    scanner.append_json(json, c);
    const auto step = scanner.feed(c);
    if (step == JsonScanner::Step::bad || step == JsonScanner::Step::past) return {};
  }
  if (!scanner.ends_here()) return {};
  return json;
}

std::string quoted_json(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace packhorse::server
