#pragma once
// Python's view of text: strings are sequences of code points. Everything here takes valid UTF-8.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace packhorse::jinja {

/// Number of code points.
size_t count_chars(std::string_view text) noexcept;
/// Byte offset of code point `n` (the size of the text when there are fewer).
size_t char_offset(std::string_view text, size_t n) noexcept;
/// The characters, each as a slice of `text`.
std::vector<std::string_view> split_chars(std::string_view text);

/// Python's str.splitlines.
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

bool is_space(uint32_t code_point) noexcept;
bool is_printable(uint32_t code_point) noexcept;
bool is_word_char(uint32_t code_point) noexcept;
bool is_letter(uint32_t code_point) noexcept;
bool is_decimal(uint32_t code_point) noexcept;
bool is_numeric(uint32_t code_point) noexcept;

enum class Side : uint8_t { left = 1, right = 2, both = 3 };
/// Without the white space at its ends.
std::string_view strip_space(std::string_view text, Side side = Side::both) noexcept;
/// Without the characters of `set` at its ends.
std::string_view strip_chars(std::string_view text, std::string_view set, Side side = Side::both);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string capitalize(std::string_view text);
/// Python's str.title: a letter after a non-letter is raised, all others are lowered.
std::string title_words(std::string_view text);

/// The five characters that mean something in HTML, as entities.
std::string escape_html(std::string_view text);

/// Position of `needle` at or after byte `from`, npos when absent. Linear time, whatever the two hold.
size_t find_text(std::string_view text, std::string_view needle, size_t from = 0) noexcept;

}  // namespace packhorse::jinja
