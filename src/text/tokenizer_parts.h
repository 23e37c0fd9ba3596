#pragma once
// What a tokenizer is made of; the factories fill it, one file each.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/gguf_vocab.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"

namespace packhorse {

struct TokenizerParts {
  std::string source;  // printable
  Bpe bpe;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  AddedTokens added;
  Decoder decoder;
  bool prints_added_as_written = false;  // added tokens bypass the decoder
  std::vector<int32_t> prefix, suffix;   // around a text, when special tokens are asked for
  std::optional<int32_t> bos, eos, unk, pad;
  std::vector<int32_t> eos_ids;
  std::vector<std::string> warnings;

  std::string_view token_text(int32_t id) const;
  int32_t find(std::string_view text) const;  // -1: no such token
  int32_t vocab_size() const;
};

/// Adds token `id` to the vocabulary; Error{model} for a token too long or given twice.
void add_token(Vocab& vocab, int32_t id, std::string_view text, const std::string& where);

/// Adds the merge of two tokens; Error{model} when one of the three texts is not in the vocabulary.
void set_merge(MergeTable& table, const Vocab& vocab, std::string_view left, std::string_view right, size_t rank,
               const std::string& where);

/// Applies tokenizer_config.json (an object, or null): added tokens first, then bos, eos, unk and pad by name. Returns
/// the tokens to build `parts.added` from, which come after `added`.
std::vector<AddedToken> apply_tokenizer_config(TokenizerParts& parts, std::vector<AddedToken> added,
                                               const Json& config);

/// A vocabulary whose merges follow from scores, as SentencePiece and GGUF's "llama" have it.
struct ScoredVocab {
  std::vector<std::string_view> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;
  int32_t unk = -1;
  bool add_space_prefix = true;
  bool collapse_spaces = false;
};
/// Fills model, normalizer, pre-tokenizer and decoder; returns the tokens to look for in texts. All three arrays have
/// one length.
std::vector<AddedToken> build_scored(TokenizerParts& parts, const ScoredVocab& vocab);

/// Error{model} unless the type is a known one; 0, which old files have, is normal.
TokenType checked_type(int32_t type, int32_t id, const std::string& where);

/// Words of a text whose spaces are U+2581, each with the marks before it: a correct first cut when no token has a mark
/// after another character, and what keeps words short.
bool no_token_spans_words(const Vocab& vocab);
PreTokenizer::Stage space_mark_words_stage();

}  // namespace packhorse
