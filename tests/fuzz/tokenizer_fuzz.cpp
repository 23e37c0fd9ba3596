// tokenizer.json (or tokenizer.model, when it does not start as JSON does), a text, and tokenizer_config.json.

#include "base/json.h"
#include "fuzz.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"
#include "text/utf8_assembler.h"

using namespace packhorse;

namespace {

constexpr std::string_view kText =
    "Hello  w\xc3\xb6rld, it's\t12345 \xe4\xbd\xa0\xe5\xa5\xbd\xf0\x9f\x98\x80\n\n<s> \xff";

Tokenizer load(std::string_view file, const Json& config) {
  if (!file.starts_with('{')) return Tokenizer::from_sentencepiece_model(file, config, "tokenizer.model");
  return Tokenizer::from_tokenizer_json(parse_json(file, "tokenizer.json"), config, "tokenizer.json");
}

void check_text(const Tokenizer& tokenizer, std::string_view text) {
  for (const bool special : {false, true}) {
    const std::vector<int32_t> ids = tokenizer.encode(text, special, special);
    for (const int32_t id : ids) fuzz::check(id >= 0 && id < tokenizer.vocab_size(), "id outside the vocabulary");
    const std::string decoded = tokenizer.decode(ids, special);
    fuzz::check(is_valid_utf8(decoded), "decoded text is not UTF-8");
    IncrementalDetokenizer detokenizer(tokenizer, special);
    std::string pieces;
    for (const int32_t id : ids) {
      detokenizer.feed(id, pieces);
      fuzz::check(is_valid_utf8(pieces), "part of a text is not UTF-8");
    }
    detokenizer.flush(pieces);
    fuzz::check(pieces == decoded, "decoding token by token gives another text");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parts = fuzz::split_parts(fuzz::text_of(data, size), 3);
  fuzz::expect_error_only([&] {
    const Json config = parts[2].empty() ? Json() : parse_json(parts[2], "tokenizer_config.json");
    const Tokenizer tokenizer = load(parts[0], config);
    fuzz::expect_error_only([&] { check_text(tokenizer, parts[1].empty() ? kText : parts[1]); });
    for (const int32_t id : {-1, 0, static_cast<int32_t>(tokenizer.vocab_size() - 1), INT32_MAX}) {
      fuzz::check(is_valid_utf8(tokenizer.token_piece(id)), "piece of a token is not UTF-8");
    }
  });
  return 0;
}
