#include "text/utf8_assembler.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/utf8.h"

namespace packhorse {
namespace {

/// Length of the longest prefix of `text` (not empty) that begins some valid character but is none itself; at least 1.
size_t prefix_length(std::string_view text, bool& needs_more) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const size_t n_total = lead >= 0xc2 && lead < 0xe0   ? 2
                         : lead >= 0xe0 && lead < 0xf0 ? 3
                         : lead >= 0xf0 && lead < 0xf5 ? 4
                                                       : 1;
  // The second byte is narrower where overlong forms, surrogates or values past U+10FFFF would begin.
  const unsigned char second_min = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned char second_max = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  size_t n = 1;
  while (n < n_total && n < text.size()) {
    const bool fits = n == 1 ? byte(1) >= second_min && byte(1) <= second_max : (byte(n) & 0xc0) == 0x80;
    if (!fits) break;
    ++n;
  }
  needs_more = n_total > 1 && n == text.size() && n < n_total;
  return n;
}

/// Length of the valid text that `text` begins with.
size_t valid_length(std::string_view text) noexcept {
  size_t i = 0;
  while (i < text.size()) {
    if (uint64_t word; text.size() - i >= sizeof word) {
      std::memcpy(&word, text.data() + i, sizeof word);
      if ((word & 0x8080808080808080u) == 0) {
        i += sizeof word;
        continue;
      }
    }
    const Utf8Char c = decode_utf8(text.substr(i));
    if (!c.valid) break;
    i += c.n_bytes;
  }
  return i;
}

}  // namespace

void Utf8Assembler::push(std::string_view bytes, std::string& out) {
  std::string joined;
  if (!pending_.empty()) {
    joined = std::move(pending_) + std::string(bytes);
    pending_.clear();
    bytes = joined;
  }
  while (!bytes.empty()) {
    const size_t n_valid = valid_length(bytes);
    out.append(bytes.substr(0, n_valid));
    bytes.remove_prefix(n_valid);
    if (bytes.empty()) break;
    bool needs_more = false;
    const size_t n_bad = prefix_length(bytes, needs_more);
    if (needs_more) {
      pending_ = bytes;
      break;
    }
    append_replacement(n_bad, out);
    bytes.remove_prefix(n_bad);
  }
}

void Utf8Assembler::flush(std::string& out) {
  if (!pending_.empty()) append_replacement(pending_.size(), out);
  pending_.clear();
}

void Utf8Assembler::append_replacement(size_t n_bytes, std::string& out) const {
  const size_t n = invalid_ == Invalid::per_byte ? n_bytes : 1;
  for (size_t i = 0; i < n; ++i) append_utf8(out, 0xfffd);
}

bool is_valid_utf8(std::string_view text) noexcept { return valid_length(text) == text.size(); }

std::string to_valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  Utf8Assembler assembler;
  assembler.push(text, out);
  assembler.flush(out);
  return out;
}

}  // namespace packhorse
