#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/utf8.h"
#include "text/jinja/chars.h"

namespace packhorse::jinja {
namespace {

/// What a tag leaves of the text before it. `sign` follows the opening brace; `at_line_start` says whether the text
/// begins a line.
std::string_view before_tag(std::string_view text, char sign, bool is_variable, bool at_line_start) {
  if (sign == '-') return strip_space(text, Side::right);
  if (sign == '+' || is_variable) return text;
  const size_t newline = text.rfind('\n');
  if (newline == std::string_view::npos && !at_line_start) return text;
  const size_t line = newline == std::string_view::npos ? 0 : newline + 1;
  return strip_space(text.substr(line)).empty() ? text.substr(0, line) : text;
}

std::string_view skip_white(std::string_view text) { return strip_space(text, Side::left); }

/// Length of "{%- word -%}" at the start of `text`, 0 when something else is there. The signs are stored.
size_t match_word_tag(std::string_view text, std::string_view word, char& open_sign, char& close_sign) {
  const size_t size = text.size();
  if (!text.starts_with("{%")) return 0;
  text.remove_prefix(2);
  open_sign = close_sign = '\0';
  if (text.starts_with('-') || text.starts_with('+')) open_sign = text[0], text.remove_prefix(1);
  text = skip_white(text);
  if (!text.starts_with(word)) return 0;
  text = skip_white(text.substr(word.size()));
  if (text.starts_with('-') || (text.starts_with('+') && word == "endraw")) close_sign = text[0], text.remove_prefix(1);
  return text.starts_with("%}") ? size - text.size() + 2 : 0;
}

bool is_digit(char c, int base) {
  const char lower = static_cast<char>(c | 0x20);
  if (base == 16 && lower >= 'a' && lower <= 'f') return true;
  return c >= '0' && c < '0' + std::min(base, 10);
}

/// Digits with single underscores between them, without the underscores; advances `i`.
std::string take_digits(std::string_view text, size_t& i, int base) {
  std::string digits;
  while (i < text.size()) {
    const size_t skip = text[i] == '_' && !digits.empty() ? 1 : 0;
    if (i + skip >= text.size() || !is_digit(text[i + skip], base)) break;
    digits += text[i + skip];
    i += skip + 1;
  }
  return digits;
}

}  // namespace

std::string Token::describe() const {
  switch (type) {
    case TokenType::end:
      return "end of template";
    case TokenType::data:
      return "template text";
    case TokenType::variable_begin:
      return "'{{'";
    case TokenType::variable_end:
      return "'}}'";
    case TokenType::block_begin:
      return "'{%'";
    case TokenType::block_end:
      return "'%}'";
    case TokenType::integer:
      return fmt::format("number {}", integer);
    case TokenType::real:
      return fmt::format("number {}", real);
    case TokenType::string:
      return fmt::format("string '{}'", printable(text));
    case TokenType::name:
    case TokenType::op:
      break;
  }
  return fmt::format("'{}'", printable(text));
}

void Lexer::advance(size_t n_bytes) {
  for (const char c : source_.substr(position_, n_bytes)) {
    if (c == '\n')
      ++at_.line, at_.column = 1;
    else
      at_.column += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }
  position_ = std::min(position_ + n_bytes, source_.size());
}

void Lexer::skip_space() {
  const std::string_view rest = source_.substr(position_);
  advance(rest.size() - skip_white(rest).size());
}

void Lexer::after_tag(char sign, bool trim_newline) {
  if (sign == '-')
    skip_space();
  else if (sign != '+' && trim_newline && peek() == '\n')
    advance(1);
}

Token Lexer::next() { return state_ == State::text ? text_or_tag() : in_tag(); }

Token Lexer::text_or_tag() {
  for (;;) {
    const size_t begin = position_;
    const Position at = at_;
    size_t tag = begin;
    while (tag + 1 < source_.size() &&
           !(source_[tag] == '{' && (source_[tag + 1] == '{' || source_[tag + 1] == '%' || source_[tag + 1] == '#'))) {
      ++tag;
    }
    if (tag + 1 >= source_.size()) {
      advance(source_.size() - begin);
      Token token{.type = begin < source_.size() ? TokenType::data : TokenType::end, .at = at};
      token.text = source_.substr(begin);
      return token;
    }
    const char kind = source_[tag + 1];
    const char after = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const char sign = after == '-' || after == '+' ? after : '\0';
    const bool at_line_start = begin == 0 || source_[begin - 1] == '\n';
    const std::string_view kept = before_tag(source_.substr(begin, tag - begin), sign, kind == '{', at_line_start);
    if (!kept.empty()) {
      advance(tag - begin);  // the tag comes with the next call, where no text is left before it
      return {.type = TokenType::data, .text = std::string(kept), .at = at};
    }
    advance(tag - begin);
    const Position tag_at = at_;
    char open_sign = '\0', close_sign = '\0';
    if (const size_t n = match_word_tag(source_.substr(position_), "raw", open_sign, close_sign)) {
      advance(n);
      after_tag(close_sign, false);
      Token token = raw_block(tag_at);
      if (token.text.empty()) continue;
      return token;
    }
    advance(sign ? 3 : 2);
    if (kind == '#') {
      skip_comment(tag_at);
      continue;
    }
    state_ = kind == '{' ? State::variable : State::block;
    return {.type = kind == '{' ? TokenType::variable_begin : TokenType::block_begin, .at = tag_at};
  }
}

Token Lexer::raw_block(Position at) {
  const size_t begin = position_;
  const Position text_at = at_;
  for (size_t tag = source_.find("{%", begin); tag != std::string_view::npos; tag = source_.find("{%", tag + 2)) {
    char open_sign = '\0', close_sign = '\0';
    const size_t n = match_word_tag(source_.substr(tag), "endraw", open_sign, close_sign);
    if (n == 0) continue;
    const bool at_line_start = source_[begin - 1] == '\n';
    Token token{.type = TokenType::data, .at = text_at};
    token.text = before_tag(source_.substr(begin, tag - begin), open_sign, false, at_line_start);
    advance(tag - begin + n);
    after_tag(close_sign, true);
    return token;
  }
  fail_syntax(at, "'raw' is not closed by 'endraw'");
}

void Lexer::skip_comment(Position at) {
  const size_t end = source_.find("#}", position_);
  if (end == std::string_view::npos) fail_syntax(at, "comment is not closed by '#}}'");
  const char before = end > position_ ? source_[end - 1] : '\0';
  advance(end + 2 - position_);
  after_tag(before, true);
}

bool Lexer::at_tag_end(char closing, char& sign) const {
  const bool is_block = closing == '%';
  sign = peek() == '-' || (is_block && peek() == '+') ? peek() : '\0';
  const size_t skip = sign ? 1 : 0;
  return peek(skip) == closing && peek(skip + 1) == '}';
}

Token Lexer::in_tag() {
  skip_space();
  const Position at = at_;
  if (position_ >= source_.size()) return {.type = TokenType::end, .at = at};
  const bool is_block = state_ == State::block;
  char sign = '\0';
  if (open_.empty() && at_tag_end(is_block ? '%' : '}', sign)) {
    advance(sign ? 3 : 2);
    after_tag(sign, is_block);
    state_ = State::text;
    return {.type = is_block ? TokenType::block_end : TokenType::variable_end, .at = at};
  }
  if (peek() == '"' || peek() == '\'') return string_literal(at);
  if (is_digit(peek(), 10)) return number(at);
  size_t end = position_;
  while (end < source_.size()) {
    const Utf8Char c = decode_utf8(source_.substr(end));
    if (!is_word_char(c.code_point)) break;
    end += c.n_bytes;
  }
  if (end == position_) return op(at);
  Token token{.type = TokenType::name, .text = std::string(source_.substr(position_, end - position_)), .at = at};
  advance(end - position_);
  return token;
}

Token Lexer::op(Position at) {
  static constexpr std::array<std::string_view, 28> kOperators = {
      "//", "**", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "[", "]",
      "(",  ")",  "{",  "}",  ">",  "<",  "=", ".", ":", "|", ",", ";", "",  ""};
  const auto* const found =
      std::find_if(kOperators.begin(), kOperators.end(), [&](std::string_view op) { return starts_with(op); });
  if (found->empty()) {
    const size_t n_bytes = decode_utf8(source_.substr(position_)).n_bytes;
    fail_syntax(at, "unexpected character '{}'", printable(source_.substr(position_, n_bytes)));
  }
  const std::string_view op = *found;
  if (op == "(" || op == "[" || op == "{") {
    if (open_.size() >= static_cast<size_t>(max_depth_)) {
      fail_model("chat template exceeded its budget (line {}, column {}: nesting deeper than {})", at.line, at.column,
                 max_depth_);
    }
    open_ += op == "(" ? ')' : op == "[" ? ']' : '}';
  } else if (op == ")" || op == "]" || op == "}") {
    if (open_.empty()) fail_syntax(at, "unexpected '{}'", op);
    if (open_.back() != op[0]) fail_syntax(at, "unexpected '{}', expected '{}'", op, open_.back());
    open_.pop_back();
  }
  advance(op.size());
  return {.type = TokenType::op, .text = std::string(op), .at = at};
}

Token Lexer::number(Position at) {
  const std::string_view text = source_.substr(position_);
  const bool after_dot = position_ > 0 && source_[position_ - 1] == '.';  // items.0.1: no fraction there
  size_t i = 0;
  int base = 10;
  if (text.size() > 2 && text[0] == '0') {
    const char letter = static_cast<char>(text[1] | 0x20);
    base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
    if (base != 10 && is_digit(text[2], base))
      i = 2;
    else
      base = 10;
  }
  std::string digits = take_digits(text, i, base);
  bool is_real = false;
  if (base == 10 && !after_dot) {
    if (i + 1 < text.size() && text[i] == '.' && is_digit(text[i + 1], 10)) {
      is_real = true;
      digits += '.' + take_digits(text, ++i, 10);
    }
    size_t exponent = i + 1;
    if (i < text.size() && (text[i] | 0x20) == 'e') {
      std::string sign;
      if (exponent < text.size() && (text[exponent] == '+' || text[exponent] == '-')) sign = text[exponent++];
      if (const std::string power = take_digits(text, exponent, 10); !power.empty()) {
        is_real = true;
        digits += 'e' + sign + power;
        i = exponent;
      }
    }
  }
  Token token{.type = is_real ? TokenType::real : TokenType::integer, .at = at};
  const char* const end = digits.data() + digits.size();
  const auto [stop, error] = is_real ? std::from_chars(digits.data(), end, token.real)
                                     : std::from_chars(digits.data(), end, token.integer, base);
  if (error != std::errc() || stop != end) fail_syntax(at, "number {} is out of range", printable(digits, 40));
  advance(i);
  return token;
}

Token Lexer::string_literal(Position at) {
  const char quote = peek();
  advance(1);
  Token token{.type = TokenType::string, .at = at};
  while (position_ < source_.size() && peek() != quote) {
    if (peek() == '\\') {
      append_escape(token.text, at);
    } else {
      const size_t end = source_.find_first_of(quote == '"' ? "\\\"" : "\\'", position_);
      const size_t n = std::min(end, source_.size()) - position_;
      token.text += source_.substr(position_, n);
      advance(n);
    }
  }
  if (position_ >= source_.size()) fail_syntax(at, "string is not closed");
  advance(1);
  return token;
}

/// Python's escapes; an unknown one keeps its backslash.
void Lexer::append_escape(std::string& out, Position at) {
  static constexpr std::string_view kLetters = "\\'\"abfnrtv";
  static constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
  const char c = peek(1);
  if (const size_t i = kLetters.find(c); c != '\0' && i != std::string_view::npos) {
    out += kMeanings[i];
    return advance(2);
  }
  if (c == '\n') return advance(2);
  const size_t n_hex = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  const bool is_octal = is_digit(c, 8);
  if (n_hex == 0 && !is_octal) {
    if (c == 'N') fail_syntax(at, "named character in a string is not supported");
    out += '\\';
    return advance(1);
  }
  const size_t first = position_ + (is_octal ? 1 : 2), most = is_octal ? 3 : n_hex;
  size_t n = 0;
  while (n < most && first + n < source_.size() && is_digit(source_[first + n], is_octal ? 8 : 16)) ++n;
  if (n_hex != 0 && n != n_hex) fail_syntax(at, "'\\{}' in a string needs {} hexadecimal digits", c, n_hex);
  uint32_t code_point = 0;
  std::from_chars(source_.data() + first, source_.data() + first + n, code_point, is_octal ? 8 : 16);
  if (code_point > 0x10ffff) fail_syntax(at, "character in a string is past U+10FFFF");
  const bool is_surrogate = code_point >= 0xd800 && code_point <= 0xdfff;
  append_utf8(out, is_surrogate ? 0xfffd : code_point);
  advance(first + n - position_);
}

}  // namespace packhorse::jinja
