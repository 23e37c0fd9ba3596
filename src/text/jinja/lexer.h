#pragma once
// Template text to tokens, with the white-space rules of an environment that has trim_blocks and lstrip_blocks on and
// drops one newline at the end:
//
//   text  {%- tag -%}  text      a '-' eats all white space on its side
//   text\n  {% tag %}\n text     a tag on a line of its own leaves nothing of that line; '+' turns this off
//
// Tokens are made on demand, so that a hostile template costs no memory before the parser refuses it.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace packhorse::jinja {

struct Position {
  uint32_t line = 1, column = 1;  // in characters
};

/// Error{model} for a template that is not valid.
template <class... Args>
[[noreturn]] void fail_syntax(Position at, fmt::format_string<Args...> format, Args&&... args) {
  fail_model("chat template: line {}, column {}: {}", at.line, at.column,
             fmt::format(format, std::forward<Args>(args)...));
}

enum class TokenType : uint8_t {
  end,
  data,
  variable_begin,
  variable_end,
  block_begin,
  block_end,
  name,
  string,
  integer,
  real,
  op,
};

struct Token {
  TokenType type = TokenType::end;
  std::string text = {};  // data, name, value of a string, operator
  int64_t integer = 0;
  double real = 0;
  Position at;

  bool is(TokenType t) const { return type == t; }
  bool is_op(std::string_view op) const { return type == TokenType::op && text == op; }
  bool is_name(std::string_view name) const { return type == TokenType::name && text == name; }
  /// For messages.
  std::string describe() const;
};

class Lexer {
 public:
  /// `source` outlives the lexer, is valid UTF-8 and has no carriage returns.
  Lexer(std::string_view source, int max_depth) : source_(source), max_depth_(max_depth) {}

  Token next();

 private:
  enum class State : uint8_t { text, variable, block };

  Token text_or_tag();
  Token in_tag();
  Token raw_block(Position at);
  Token string_literal(Position at);
  Token number(Position at);
  Token op(Position at);
  void skip_comment(Position at);
  void append_escape(std::string& out, Position at);
  bool at_tag_end(char closing, char& sign) const;
  void after_tag(char sign, bool trim_newline);

  bool starts_with(std::string_view text) const { return source_.substr(position_, text.size()) == text; }
  char peek(size_t ahead = 0) const { return position_ + ahead < source_.size() ? source_[position_ + ahead] : '\0'; }
  void advance(size_t n_bytes);
  void skip_space();

  std::string_view source_;
  int max_depth_;
  size_t position_ = 0;
  Position at_;
  State state_ = State::text;
  std::string open_;  // closing brackets that are due, the innermost last
};

}  // namespace packhorse::jinja
