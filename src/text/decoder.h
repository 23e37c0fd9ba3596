#pragma once
// From token texts back to bytes: tokenizer.json's "decoder". Each token is turned into bytes by itself; what depends
// on the text around it is told by fields, which the incremental detokenizer obeys.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/utf8_assembler.h"

namespace packhorse {

struct Decoder {
  using Step = std::function<void(std::string& token)>;

  std::vector<Step> steps{};             // on each token
  std::string separator = "";            // between tokens
  std::string strip = "";                // character that is removed from the start of the text,
  size_t n_strip = 0;                    // at most so many times
  std::string first_token_without = "";  // removed wherever it stands in the first token
  Utf8Assembler::Invalid invalid = Utf8Assembler::Invalid::per_prefix;
};

/// `json` is the object, or null: then tokens are separated by spaces, as the tokenizers library has it.
Decoder parse_decoder(const Json* json, const std::string& where);

Decoder byte_level_decoder();
/// SentencePiece: U+2581 is a space, `<0xNN>` a byte, one space at the start is dropped if `strip_space`.
Decoder sentencepiece_decoder(bool strip_space);

/// The byte of `<0xNN>`, or -1 for any other text.
int parse_byte_token(std::string_view text) noexcept;

}  // namespace packhorse
