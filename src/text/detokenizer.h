#pragma once
// Token ids to text as they are generated: only whole characters come out, and all that comes out, put together, is
// what Tokenizer::decode makes of all ids.

#include <cstdint>
#include <span>
#include <string>

#include "text/tokenizer.h"
#include "text/utf8_assembler.h"

namespace packhorse {

class IncrementalDetokenizer {
 public:
  /// The text goes on after `prompt`: a space at the start, or the first bytes of a character, may belong to it.
  /// Without `spaces_between_special_tokens`, an added token right after another one of the output is printed as it is
  /// written, without what the decoder would put between them. The tokenizer must outlive this object.
  IncrementalDetokenizer(const Tokenizer& tokenizer, bool skip_special_tokens, std::span<const int32_t> prompt = {},
                         bool spaces_between_special_tokens = true);

  /// Appends to `text` what this token completes; work in proportion to the token's own text.
  void feed(int32_t id, std::string& text);
  std::string feed(int32_t id);
  /// The end: an unfinished character is printed as U+FFFD.
  void flush(std::string& text);
  std::string flush();

 private:
  void append_stripped(std::string_view chunk, std::string& text);

  const Tokenizer* tokenizer_;
  Utf8Assembler assembler_;
  std::string bytes_, chunk_;  // reused
  size_t n_strip_left_;
  bool skip_special_;
  bool joins_added_ = false;
  bool after_added_ = false;
  bool first_ = true;
};

}  // namespace packhorse
