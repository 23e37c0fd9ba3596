// The SentencePiece family: merges follow from scores, spaces are U+2581, characters that are no token fall back to
// bytes.

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/tokenizer_parts.h"

namespace packhorse {
namespace {

constexpr const char* kSpaceMark = "\xe2\x96\x81";  // U+2581

/// Dense ranks by token id: the highest score is 0, equal scores share one, tokens that text is never joined to have
/// none.
std::vector<uint32_t> ranks_of(const std::vector<float>& scores, const std::vector<TokenType>& types) {
  std::vector<float> order;
  for (size_t id = 0; id < scores.size(); ++id) {
    if (types[id] == TokenType::normal) order.push_back(scores[id]);
  }
  std::sort(order.begin(), order.end(), std::greater<>());
  order.erase(std::unique(order.begin(), order.end()), order.end());
  std::vector<uint32_t> ranks(scores.size(), Merge::kNoRank);
  for (size_t id = 0; id < scores.size(); ++id) {
    if (types[id] != TokenType::normal) continue;
    const auto place = std::lower_bound(order.begin(), order.end(), scores[id], std::greater<>());
    ranks[id] = static_cast<uint32_t>(place - order.begin());
  }
  return ranks;
}

Vocab checked_vocab(const ScoredVocab& from, const std::vector<TokenType>& types, TokenizerParts& parts) {
  const std::string& where = parts.source;
  size_t n_bytes = 0;
  for (const std::string_view text : from.tokens) n_bytes += text.size();
  Vocab vocab;
  vocab.reserve(from.tokens.size(), n_bytes);
  for (size_t i = 0; i < from.tokens.size(); ++i) {
    const std::string_view text = from.tokens[i];
    const auto id = static_cast<int32_t>(i);
    if (!std::isfinite(from.scores[i])) fail_model("{}: token {}: score {} is not finite", where, id, from.scores[i]);
    if (types[i] == TokenType::byte && parse_byte_token(text) < 0) {
      fail_model("{}: token {}: '{}' is no byte token (<0x00> to <0xFF>)", where, id, printable(text));
    }
    if (text.empty()) parts.warnings.push_back(fmt::format("{}: token {} is empty", where, id));
    add_token(vocab, id, text, where);
  }
  return vocab;
}

}  // namespace

std::vector<AddedToken> build_scored(TokenizerParts& parts, const ScoredVocab& from) {
  std::vector<TokenType> types;
  std::vector<AddedToken> added;
  bool has_bytes = false;
  for (size_t i = 0; i < from.tokens.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    types.push_back(checked_type(from.types[i], id, parts.source));
    has_bytes |= types[i] == TokenType::byte;
    const bool special = types[i] == TokenType::control || types[i] == TokenType::unknown;
    if (special || types[i] == TokenType::user_defined) {
      added.push_back({.id = id, .content = std::string(from.tokens[i]), .special = special});
    }
  }
  Vocab vocab = checked_vocab(from, types, parts);
  std::vector<Normalizer::Step> steps;
  if (from.collapse_spaces) steps.push_back(collapse_spaces_step());
  if (from.add_space_prefix) steps.push_back(prepend_step(" "));
  steps.push_back(replace_step(make_literal(" "), kSpaceMark));
  parts.normalizer = Normalizer(std::move(steps));
  std::vector<PreTokenizer::Stage> stages;
  if (no_token_spans_words(vocab)) stages.push_back(space_mark_words_stage());
  parts.pre_tokenizer = PreTokenizer(std::move(stages));
  parts.decoder = sentencepiece_decoder(from.add_space_prefix);
  parts.bpe =
      Bpe(std::move(vocab), ranks_of(from.scores, types),
          {.alphabet = Bpe::Alphabet::characters, .byte_fallback = has_bytes, .fuse_unk = true, .unk = from.unk});
  return added;
}

}  // namespace packhorse
