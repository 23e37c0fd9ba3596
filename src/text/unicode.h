#pragma once
// What tokenizers need of Unicode: character classes as regular expressions know them, normal forms, and repair of
// invalid UTF-8.

#include <cstdint>
#include <string>
#include <string_view>

namespace packhorse {

enum class CharClass : uint8_t { other, letter, number, space };  // \p{L}, \p{N}, \s

CharClass char_class(uint32_t code_point) noexcept;
inline bool is_space(uint32_t code_point) noexcept { return char_class(code_point) == CharClass::space; }
/// \w: letters, marks, decimal digits, connectors.
bool is_word_char(uint32_t code_point) noexcept;

/// Last character of a non-empty, valid text, and where it begins.
struct LastChar {
  uint32_t code_point;
  size_t begin;
};
LastChar last_char(std::string_view text) noexcept;

enum class NormalForm : uint8_t { nfc, nfd, nfkc, nfkd };

/// Each of these takes valid UTF-8 and needs time linear in its length up to the logarithm of one run of marks.
void normalize(std::string& text, NormalForm form);
void lowercase(std::string& text);
void remove_marks(std::string& text);
void trim_spaces(std::string& text, bool left, bool right);

}  // namespace packhorse
