#pragma once
// One JSON value, checked byte by byte.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace packhorse::server {

inline constexpr size_t kMaxJsonDepth = 64;

inline bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
inline std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

/// Control characters inside of strings pass, since models write line breaks there; `append_json` escapes them.
class JsonScanner {
 public:
  enum class Step : uint8_t {
    more,
    last,  // the value ends with this byte
    past,  // the value, a number, ended before this byte
    bad,   // no JSON, or nested too deep
  };
  Step feed(char c);
  /// Whether the value is whole if the text ends here; only a number needs to be asked.
  bool ends_here() const { return ended_ || (open_.empty() && number_may_end()); }

  /// Appends the byte that is fed next, escaped where JSON asks for it.
  void append_json(std::string& out, char next) const;

 private:
  enum class Expect : uint8_t {
    value,
    value_or_end,
    key,
    key_or_end,
    colon,
    comma_or_end,
    string,
    escape,
    hex,
    literal,
    minus,
    zero,
    digits,
    point,
    fraction,
    exponent,
    exponent_sign,
    exponent_digits,
  };
  Step structure(char c);
  Step begin_value(char c);
  Step open(char c);
  Step close(char c);
  Step value_ended();
  Step string(char c);
  Step number(char c);
  bool number_may_end() const;
  bool go(Expect next) { return expect_ = next, true; }

  Expect expect_ = Expect::value;
  bool in_key_ = false, ended_ = false;
  int hex_left_ = 0;
  std::string_view literal_left_;
  std::string open_;  // '{' and '[' of the containers around
};

/// `text` without blanks around when it is one JSON value, as strict JSON.
std::optional<std::string> json_value(std::string_view text);

/// A text as a JSON string; invalid UTF-8 is replaced.
std::string quoted_json(std::string_view text);

}  // namespace packhorse::server
