#include "engine/sampler/token_rules.h"

#include <algorithm>

#include "base/error.h"
#include "text/unicode.h"

namespace packhorse {
namespace {

int32_t checked_id(const char* parameter, int64_t id, int64_t vocab_size) {
  if (id < 0 || id >= vocab_size) {
    fail(ErrorKind::request, "{}: token id {} is out of vocabulary (got {}, limit {})", parameter, id, id,
         vocab_size - 1);
  }
  return static_cast<int32_t>(id);
}

std::vector<std::pair<int32_t, float>> make_biases(const std::map<int64_t, double>& biases, int64_t vocab_size) {
  if (biases.size() > static_cast<size_t>(vocab_size)) {
    fail(ErrorKind::request, "logit_bias: more entries than the vocabulary has tokens (got {}, limit {})",
         biases.size(), vocab_size);
  }
  std::vector<std::pair<int32_t, float>> out;
  for (const auto& [id, bias] : biases) {
    out.emplace_back(checked_id("logit_bias", id, vocab_size), static_cast<float>(bias));
  }
  return out;
}

std::vector<int32_t> make_allowed(const std::vector<int64_t>& ids, int64_t vocab_size) {
  std::vector<int32_t> out;
  for (const int64_t id : ids) out.push_back(checked_id("allowed_token_ids", id, vocab_size));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

/// A word as it begins a text, and as it stands after a space when that is another word of as many tokens: then the
/// tokenizer has tokens that begin with a space. Longer forms are left out, as in vLLM's
/// SamplingParams.update_from_tokenizer, whose choice this is.
void add_bad_word(std::string word, const Tokenizer& tokenizer, std::vector<std::vector<int32_t>>& out) {
  const std::string given = word;
  trim_spaces(word, true, false);
  std::vector<int32_t> plain = tokenizer.encode(word, false);
  if (plain.empty()) fail(ErrorKind::request, "bad_words: '{}' has no tokens (got 0, needed 1)", printable(given));
  std::vector<int32_t> spaced = tokenizer.encode(" " + word, false);
  const bool is_other = spaced.size() == plain.size() && spaced[0] != plain[0];
  out.push_back(std::move(plain));
  if (is_other) out.push_back(std::move(spaced));
}

std::vector<std::vector<int32_t>> make_bad_words(const std::vector<std::string>& words, const Tokenizer* tokenizer,
                                                 int64_t vocab_size) {
  if (!tokenizer) fail(ErrorKind::request, "bad_words: they need a tokenizer, and skip_tokenizer_init is set");
  std::vector<std::vector<int32_t>> out;
  for (const std::string& word : words) add_bad_word(word, *tokenizer, out);
  for (const auto& sequence : out) {
    for (const int32_t id : sequence) checked_id("bad_words", id, vocab_size);
  }
  return out;
}

}  // namespace

std::unique_ptr<const TokenRules> make_token_rules(const SamplingParams& params, const Tokenizer* tokenizer,
                                                   int64_t vocab_size) {
  if (params.logit_bias.empty() && !params.allowed_token_ids && params.bad_words.empty()) return nullptr;
  TokenRules rules{.biases = make_biases(params.logit_bias, vocab_size)};
  if (params.allowed_token_ids) rules.allowed = make_allowed(*params.allowed_token_ids, vocab_size);
  if (!params.bad_words.empty()) rules.bad_words = make_bad_words(params.bad_words, tokenizer, vocab_size);
  return std::make_unique<const TokenRules>(std::move(rules));
}

}  // namespace packhorse
