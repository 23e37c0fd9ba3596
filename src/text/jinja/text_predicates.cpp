// Methods of strings that ask about every character.
#include "base/utf8.h"
#include "text/jinja/chars.h"
#include "text/jinja/interpreter.h"

namespace packhorse::jinja {
namespace {

/// Whether all characters are so; false for an empty text.
template <bool (*kHolds)(uint32_t)>
Value all_chars(Call& call) {
  std::string_view text = call.self.bytes();
  call.in.budget().scan_chars(text.size());
  if (text.empty()) return false;
  while (!text.empty()) {
    const Utf8Char c = decode_utf8(text);
    if (!kHolds(c.code_point)) return false;
    text.remove_prefix(c.n_bytes);
  }
  return true;
}

bool is_alnum(uint32_t c) { return is_word_char(c) && c != '_'; }
bool is_ascii(uint32_t c) { return c < 0x80; }

template <bool kUpper>
Value has_case(Call& call) {
  const std::string_view text = call.self.bytes();
  call.in.budget().scan_chars(text.size());
  const std::string upper = to_upper(text), lower = to_lower(text);
  return upper != lower && text == (kUpper ? upper : lower);
}

Value isidentifier(Call& call) {
  const std::string_view text = call.self.bytes();
  const bool starts_well = !text.empty() && (text[0] < '0' || text[0] > '9');
  return starts_well && call.in.truth(all_chars<is_word_char>(call));
}

constexpr Builtin kMethods[] = {
    {"isalpha", "", all_chars<is_letter>},
    {"isdigit", "", all_chars<is_decimal>},
    {"isdecimal", "", all_chars<is_decimal>},
    {"isnumeric", "", all_chars<is_numeric>},
    {"isalnum", "", all_chars<is_alnum>},
    {"isspace", "", all_chars<is_space>},
    {"isascii", "",
     [](Call& call) -> Value { return call.self.bytes().empty() || call.in.truth(all_chars<is_ascii>(call)); }},
    {"isupper", "", has_case<true>},
    {"islower", "", has_case<false>},
    {"isidentifier", "", isidentifier},
};

}  // namespace

std::span<const Builtin> text_predicates() { return kMethods; }

}  // namespace packhorse::jinja
