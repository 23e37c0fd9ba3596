#pragma once
// Tokens that are cut out of a text before anything else sees it: control tokens and user-defined ones.

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "text/normalizer.h"

namespace packhorse {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  // only where no word character is next to it
  bool lstrip = false;       // takes the spaces to its left with it
  bool rstrip = false;
  bool normalized = false;  // looked for in the normalized text
  bool special = false;     // only looked for when special tokens are parsed, and not printed when they are skipped
};

/// The flags of an entry as tokenizer.json and tokenizer_config.json write it. Throws Error{model}.
AddedToken read_added_token(const Json& entry, int32_t id, std::string content, const std::string& where);

/// A set of literals that finds the longest one at each place.
class LiteralSet {
 public:
  static constexpr size_t kNone = SIZE_MAX;

  LiteralSet() = default;
  /// Pairs of literal and the index to report; empty literals are left out, of equal ones the last counts.
  explicit LiteralSet(std::vector<std::pair<std::string, size_t>> literals);
  /// Index of the longest literal that `text` begins with, and its length; kNone when there is none.
  size_t longest_prefix(std::string_view text, size_t& n_bytes) const;
  bool empty() const { return literals_.empty(); }

 private:
  std::vector<std::pair<std::string, size_t>> literals_;  // sorted
  std::array<uint32_t, 257> first_{};                     // by first byte: where in literals_ they begin
};

class AddedTokens {
 public:
  AddedTokens() = default;
  /// A later token of the same id replaces an earlier one.
  AddedTokens(std::vector<AddedToken> tokens, const Normalizer& normalizer);

  using EmitText = std::function<void(std::string_view text, size_t begin)>;
  using EmitToken = std::function<void(int32_t id)>;
  /// Cuts `text` at its tokens, the leftmost and then longest first. `in_normalized` says which of the two kinds to
  /// look for; special tokens count as text unless `parse_special`.
  void split(std::string_view text, bool in_normalized, bool parse_special, const EmitText& emit_text,
             const EmitToken& emit_token) const;

  /// What a text contains where the token stands: its content, normalized if the token is. Decoders start from this.
  /// `token` must be one that `find` gave.
  const std::string& text_of(const AddedToken& token) const {
    return texts_[static_cast<size_t>(&token - tokens_.data())];
  }
  /// Null for an id that was not added.
  const AddedToken* find(int32_t id) const;
  const AddedToken* find(std::string_view content) const;
  const std::vector<AddedToken>& all() const { return tokens_; }

 private:
  std::vector<AddedToken> tokens_;
  std::vector<std::string> texts_;  // of tokens_
  std::unordered_map<int32_t, size_t> by_id_;
  LiteralSet raw_, normalized_;
};

}  // namespace packhorse
