#pragma once
// The reasoning before an output that has to match a grammar: where it begins and ends, token by token.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "packhorse/packhorse.h"
#include "text/tokenizer.h"

namespace packhorse {

/// The texts around reasoning, and the tokens of a vocabulary that matter to them. Immutable.
class ReasoningMarkers {
 public:
  struct Token {
    int32_t id;
    std::string text;
  };

  /// `wanted` has reasoning_ends. The tokenizer must outlive the object.
  ReasoningMarkers(const StructuredOutputs& wanted, const Tokenizer& tokenizer, int64_t vocab_size,
                   bool skip_special_tokens);

  const std::vector<std::string>& starts() const { return starts_; }
  const std::vector<std::string>& ends() const { return ends_; }
  /// Tokens that may be a part of a start.
  const std::vector<Token>& openers() const { return openers_; }
  /// Tokens that may hold more than what was left of an end.
  const std::vector<Token>& crossers() const { return crossers_; }
  /// What a token adds to the text that the caller sees; special tokens of a marker count also where they are skipped.
  std::string text_of(int32_t token) const;

 private:
  std::vector<std::string> starts_, ends_;
  std::vector<Token> openers_, crossers_;
  const Tokenizer& tokenizer_;
  bool skip_special_tokens_;
};

/// How far one output has got. As in the text that is shown, the end that is complete first counts.
class ReasoningProgress {
 public:
  enum class Place {
    opening,  // as much of a start as there is output; also none of it
    inside,
    behind,  // the end was the last thing
    absent,  // the output did not begin with a start
  };

  explicit ReasoningProgress(const ReasoningMarkers& markers)
      : place_(markers.starts().empty() ? Place::inside : Place::opening) {}

  Place place() const { return place_; }
  /// False when the text does not stop at the end of the reasoning: what follows it is text of the answer.
  bool add(const ReasoningMarkers& markers, std::string_view text);

  /// In an opening: sets the bits of all tokens that go on with it.
  void allow_openers(const ReasoningMarkers& markers, std::span<uint32_t> bits) const;
  /// Inside: sets the logits of tokens that hold text of the answer to minus infinity.
  void mask_crossers(const ReasoningMarkers& markers, std::span<float> logits) const;

 private:
  void add(const ReasoningMarkers& markers, char c);

  Place place_;
  std::string text_;  // the opening; inside, what may become an end
};

}  // namespace packhorse
