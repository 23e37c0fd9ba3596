#pragma once
// Byte-pair encoding of one word: start from its bytes or characters, join the adjacent pair of the lowest rank (the
// leftmost of equals) until no pair is left. Ranks come from a list of merges, or, as SentencePiece defines it, from
// the score of the joined token.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/merge_queue.h"
#include "text/merge_table.h"
#include "text/vocab.h"

namespace packhorse {

/// Working memory of Bpe::encode, to be kept for the words of one text.
struct BpeScratch {
  struct Symbol {
    uint32_t begin;  // byte in the word
    int32_t id;      // -1: a character that is no token
    Merge merge;     // with the symbol to the right
  };
  struct Link {
    uint32_t prev, next;
  };
  std::vector<Symbol> symbols;  // and one at the end of the word, of no id
  std::vector<Link> links;      // of symbols that are left, for long words
  MergeQueue queue;             // an entry whose symbol has another rank by now is stale
  std::string text;
};

class Bpe {
 public:
  enum class Alphabet : uint8_t { bytes, characters };  // bytes: tokens are written in the alphabet of byte_level.h
  struct Options {
    Alphabet alphabet = Alphabet::bytes;
    bool ignore_merges = false;  // a word that is a token is that token, whatever the merges make of it
    bool byte_fallback = false;  // a character that is no token becomes tokens <0xNN>, where they exist
    bool fuse_unk = false;       // adjacent unknown characters are one unknown token
    int32_t unk = -1;            // -1: unknown characters vanish
  };

  Bpe() = default;
  Bpe(Vocab vocab, MergeTable merges, const Options& options);
  /// `ranks` by token id; Merge::kNoRank for tokens that no pair may be joined to.
  Bpe(Vocab vocab, std::vector<uint32_t> ranks, const Options& options);

  /// Appends the tokens of a word of valid UTF-8. O(n log n). Error{request} for 4 GiB and more.
  void encode(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const;

  const Vocab& vocab() const { return vocab_; }

 private:
  using Symbol = BpeScratch::Symbol;
  void find_byte_ids();
  void start_with_bytes(std::string_view word, std::vector<Symbol>& symbols) const;
  void start_with_characters(std::string_view word, std::vector<Symbol>& symbols) const;
  bool has_bytes(std::string_view character) const;
  Merge merge_of(std::string_view word, const Symbol& left, const Symbol& right, const Symbol& after) const;
  void merge_short(std::string_view word, std::vector<Symbol>& symbols) const;
  void merge_long(std::string_view word, BpeScratch& scratch) const;
  void append(std::string_view word, const std::vector<Symbol>& symbols, std::vector<int32_t>& out) const;

  Vocab vocab_;
  MergeTable merges_;
  std::vector<uint32_t> ranks_;  // by token id; empty when there are merges
  bool by_score_ = false;
  size_t n_ranks_ = 0;
  Options options_;
  std::array<int32_t, 256> byte_ids_{};
};

}  // namespace packhorse
