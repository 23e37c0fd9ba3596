#pragma once
// How a text is split into the words that BPE works on: tokenizer.json's "pre_tokenizer".

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/pattern.h"

namespace packhorse {

using EmitPiece = std::function<void(std::string_view piece)>;

/// What a split does with the matches of its pattern.
enum class SplitBehavior : uint8_t { removed, isolated, merged_with_previous, merged_with_next, contiguous };

class PreTokenizer {
 public:
  /// Splits one piece. `at_start`: it begins the whole text.
  using Stage =
      std::function<void(std::string_view piece, bool at_start, MatchScratch& scratch, const EmitPiece& emit)>;

  PreTokenizer() = default;
  explicit PreTokenizer(std::vector<Stage> stages) : stages_(std::move(stages)) {}
  void append(Stage stage) { stages_.push_back(std::move(stage)); }
  /// Calls `emit` with the words of `text` in order; a word lives until `emit` returns. No word is empty.
  void split(std::string_view text, bool at_start, MatchScratch& scratch, const EmitPiece& emit) const {
    run(0, text, at_start, scratch, emit);
  }

 private:
  void run(size_t stage, std::string_view piece, bool at_start, MatchScratch& scratch, const EmitPiece& emit) const;
  std::vector<Stage> stages_;
};

PreTokenizer::Stage split_stage(std::shared_ptr<const Pattern> pattern, SplitBehavior behavior, bool invert = false);

struct ParsedPreTokenizer {
  PreTokenizer pre_tokenizer;
  bool byte_level = false;  // words are to be read as bytes, not as characters
};
/// `json` is the object, or null for none. Throws Error{model} for types that are not known.
ParsedPreTokenizer parse_pre_tokenizer(const Json* json, const std::string& where);

}  // namespace packhorse
