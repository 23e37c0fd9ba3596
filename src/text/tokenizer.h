#pragma once
// Text to token ids and back, for byte-level BPE and SentencePiece BPE, from any of the files that checkpoints carry
// them in.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/gguf_vocab.h"

namespace packhorse {

struct TokenizerParts;

/// Immutable, so that threads may share it. Built by one of the factories, which throw Error{model}; `source` names the
/// file in messages.
class Tokenizer {
 public:
  /// `tokenizer` is tokenizer.json, `config` tokenizer_config.json (or null): it names special tokens and may redefine
  /// the flags of added ones. tokenizer.json alone decides which tokens are put around a text.
  static Tokenizer from_tokenizer_json(const Json& tokenizer, const Json& config, std::string_view source);
  /// SentencePiece's tokenizer.model. `config` as above; its add_bos_token (default true) and add_eos_token (false)
  /// decide which tokens are put around a text.
  static Tokenizer from_sentencepiece_model(std::string_view bytes, const Json& config, std::string_view source);
  static Tokenizer from_gguf(const GgufVocab& vocab, std::string_view source);

  explicit Tokenizer(std::unique_ptr<const TokenizerParts> parts);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  /// Ids of a text. Invalid UTF-8 is read as U+FFFD. `parse_special`: texts of special tokens become these tokens, else
  /// they are ordinary text. Throws Error{request} for a word of 4 GiB, and for a text that a
  /// split expression gives up on.
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens = true, bool parse_special = true) const;
  /// Valid UTF-8. Ids that are no tokens print nothing (models pad their vocabularies).
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const;
  /// A token alone, decoded.
  std::string token_piece(int32_t id) const;
  /// The bytes that a token adds to a text that has begun; empty for special tokens and for an id that is no token.
  std::string token_bytes(int32_t id) const;

  /// The token as the vocabulary writes it; empty for an id that is no token.
  std::string_view token_text(int32_t id) const;
  std::optional<int32_t> find(std::string_view token_text) const;
  /// Highest id plus 1.
  int64_t vocab_size() const;
  /// Error{model} when there is an id at or past the rows of the embedding.
  void require_ids_below(int64_t n_rows) const;

  bool is_special(int32_t id) const;
  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  std::optional<int32_t> unk_id() const;
  std::optional<int32_t> pad_id() const;
  /// All tokens that end a generation: eos, and of GGUF files also the ends of turn and message.
  const std::vector<int32_t>& eos_ids() const;
  /// Whether encode puts bos in front of a text when asked for special tokens.
  bool adds_bos() const;
  /// Oddities of the file that do not keep it from loading.
  const std::vector<std::string>& warnings() const;

  /// For this layer only.
  const TokenizerParts& parts() const { return *parts_; }

 private:
  std::unique_ptr<const TokenizerParts> parts_;
};

}  // namespace packhorse
