#include "app/server/parsers/python_literal.h"

#include <cstdint>
#include <unordered_set>

#include "app/server/parsers/json_scanner.h"

namespace packhorse::server {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0; }

void append_code_point(std::string& out, uint32_t c) {
  const auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xc0 | c >> 6);
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12), put(0x80 | (c >> 6 & 0x3f));
  } else {
    put(0xf0 | c >> 18), put(0x80 | (c >> 12 & 0x3f)), put(0x80 | (c >> 6 & 0x3f));
  }
  put(0x80 | (c & 0x3f));
}

/// Each reader returns false for what it does not know; `json_` holds what was read.
class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  std::optional<PythonCall> call() {
    PythonCall call;
    call.name = name(".-");
    if (call.name.empty() || !take('(')) return {};
    json_ = "{";
    if (!members(')', [&] { return keyword(); })) return {};
    if (skip(); !rest_.empty()) return {};
    call.arguments = std::move(json_) + "}";
    return call;
  }

 private:
  char peek() const { return rest_.empty() ? '\0' : rest_.front(); }
  void skip() {
    while (is_blank(peek())) rest_.remove_prefix(1);
  }
  bool take(char c) {
    skip();
    if (peek() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  std::string name(std::string_view also) {
    skip();
    size_t n = 0;
    while (n < rest_.size() &&
           (is_name_start(rest_[n]) || (n > 0 && (is_digit(rest_[n]) || also.find(rest_[n]) != also.npos))))
      ++n;
    std::string name(rest_.substr(0, n));
    rest_.remove_prefix(n);
    return name;
  }

  /// Things between commas up to `close`; a comma may stand before that.
  template <class F>
  bool members(char close, F&& one) {
    for (bool first = true; !take(close); first = false) {
      if (!first && !take(',')) return false;
      if (!first && take(close)) return true;
      if (!first) json_ += ", ";
      if (!one()) return false;
    }
    return true;
  }

  bool keyword() {
    const std::string key = name("");
    if (key.empty() || !keys_.insert(key).second || !take('=')) return false;
    json_ += quoted_json(key) + ": ";
    return value();
  }

  bool value() {
    skip();
    const char c = peek();
    if (c == '"' || c == '\'') return text();
    if (c == '[' || c == '{') return container(c);
    return is_name_start(c) ? word() : number();
  }

  bool container(char open) {
    if (++depth_ > kMaxJsonDepth) return false;
    const char close = open == '[' ? ']' : '}';
    rest_.remove_prefix(1);
    json_.push_back(open);
    const bool whole = members(close, [&] { return open == '[' ? value() : entry(); });
    json_.push_back(close);
    --depth_;
    return whole;
  }

  bool entry() {
    skip();
    if ((peek() != '"' && peek() != '\'') || !text() || !take(':')) return false;
    json_ += ": ";
    return value();
  }

  bool word() {
    const std::string word = name("");
    const bool yes = word == "True" || word == "true", no = word == "False" || word == "false";
    if (!yes && !no && word != "None" && word != "null") return false;
    json_ += yes ? "true" : no ? "false" : "null";
    return true;
  }

  /// As JSON writes it, but for "1." and ".5".
  bool number() {
    size_t n = 0;
    while (n < rest_.size() &&
           (is_digit(rest_[n]) || std::string_view("+-.eE").find(rest_[n]) != std::string_view::npos))
      ++n;
    std::string digits(rest_.substr(0, n));
    rest_.remove_prefix(n);
    if (digits.starts_with('.')) digits.insert(0, "0");
    if (digits.starts_with("-.")) digits.insert(1, "0");
    if (digits.ends_with('.')) digits += "0";
    const auto json = json_value(digits);
    if (json) json_ += *json;
    return json.has_value();
  }

  /// Strings that stand side by side are one, which reads most texts in three quotes too.
  bool text() {
    std::string text;
    do {
      const char quote = peek();
      rest_.remove_prefix(1);
      while (peek() != quote) {
        if (rest_.empty() || !character(text)) return false;
      }
      rest_.remove_prefix(1);
      skip();
    } while (peek() == '"' || peek() == '\'');
    json_ += quoted_json(text);
    return true;
  }

  bool character(std::string& out) {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    if (c != '\\') return out.push_back(c), true;
    const char kind = peek();
    if (rest_.empty()) return false;
    rest_.remove_prefix(1);
    if (kind == 'x') return code_point(out, 2);
    if (kind == 'u') return code_point(out, 4);
    if (kind == 'U') return code_point(out, 8);
    constexpr std::string_view kNames = "ntrbfav0\\'\"";
    constexpr std::string_view kCharacters("\n\t\r\b\f\a\v\0\\'\"", 11);
    if (kind == '\n') return true;
    const size_t i = kNames.find(kind);
    if (i == kNames.npos) out.push_back('\\');  // as Python keeps it
    out.push_back(i == kNames.npos ? kind : kCharacters[i]);
    return true;
  }

  bool code_point(std::string& out, size_t n_digits) {
    if (rest_.size() < n_digits) return false;
    uint32_t value = 0;
    for (const char c : rest_.substr(0, n_digits)) {
      const auto digit = std::string_view("0123456789abcdef").find(static_cast<char>(is_digit(c) ? c : c | 0x20));
      if (digit == std::string_view::npos) return false;
      value = value << 4 | static_cast<uint32_t>(digit);
    }
    rest_.remove_prefix(n_digits);
    if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return false;
    append_code_point(out, value);
    return true;
  }

  std::string_view rest_;
  std::string json_;
  std::unordered_set<std::string> keys_;
  size_t depth_ = 0;
};

}  // namespace

std::optional<PythonCall> parse_python_call(std::string_view text) { return Parser(text).call(); }

}  // namespace packhorse::server
