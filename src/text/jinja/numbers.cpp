#include "text/jinja/numbers.h"

#include <charconv>
#include <cstdlib>
#include <string>

#include "text/jinja/chars.h"

namespace packhorse::jinja {
namespace {

bool is_word(char c) { return is_word_char(static_cast<unsigned char>(c)) && c != '_'; }

/// The text without underscores between digits; nothing when one is elsewhere.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
    } else if (i == 0 || i + 1 == text.size() || !is_word(text[i - 1]) || !is_word(text[i + 1])) {
      return std::nullopt;
    }
  }
  return out;
}

/// Removes one leading sign.
bool take_minus(std::string_view& text) {
  if (text.empty() || (text[0] != '-' && text[0] != '+')) return false;
  const bool minus = text[0] == '-';
  text.remove_prefix(1);
  return minus;
}

/// Removes "0x" and the like, as far as they fit the base; 0 becomes the base found.
int take_prefix(std::string_view& text, int base) {
  if (text.size() > 2 && text[0] == '0') {
    const char letter = static_cast<char>(text[1] | 0x20);
    const int prefix = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (prefix != 0 && (base == 0 || base == prefix)) {
      text.remove_prefix(text[2] == '_' ? 3 : 2);
      return prefix;
    }
  }
  return base == 0 ? 10 : base;
}

}  // namespace

std::optional<int64_t> parse_integer(std::string_view text, int base) {
  if (base != 0 && (base < 2 || base > 36)) return std::nullopt;
  text = strip_space(text);
  const bool minus = take_minus(text);
  base = take_prefix(text, base);
  if (text.empty() || text[0] == '-') return std::nullopt;
  const std::optional<std::string> digits = without_underscores(text);
  if (!digits) return std::nullopt;
  const std::string number = (minus ? "-" : "") + *digits;
  int64_t value = 0;
  const char* const end = number.data() + number.size();
  const auto [stop, error] = std::from_chars(number.data(), end, value, base);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

std::optional<double> parse_real(std::string_view text) {
  text = strip_space(text);
  const bool minus = take_minus(text);
  if (text.empty() || text[0] == '-') return std::nullopt;
  const std::optional<std::string> digits = without_underscores(text);
  if (!digits) return std::nullopt;
  double value = 0;
  const char* const end = digits->data() + digits->size();
  const auto [stop, error] = std::from_chars(digits->data(), end, value);
  if (stop != end || error == std::errc::invalid_argument) return std::nullopt;
  if (error == std::errc::result_out_of_range) value = std::strtod(digits->c_str(), nullptr);  // 0 or infinity
  return minus ? -value : value;
}

}  // namespace packhorse::jinja
