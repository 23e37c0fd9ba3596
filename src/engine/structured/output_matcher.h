#pragma once
// Follows one output through its grammar: which tokens may come next, and when it is complete.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/structured/reasoning.h"

namespace packhorse {

struct OutputGrammar;

/// Not shared between threads; different matchers of one grammar are independent.
class OutputMatcher {
 public:
  /// `stop_tokens` are the tokens that end an output: they may come where it is complete, and nowhere else. Without
  /// any, it ends where it is complete for the first time. With `markers` the output may think before it has to match.
  OutputMatcher(std::shared_ptr<const OutputGrammar> grammar, const std::vector<int32_t>& stop_tokens,
                std::shared_ptr<const ReasoningMarkers> markers = nullptr);
  ~OutputMatcher();
  OutputMatcher(const OutputMatcher&) = delete;
  OutputMatcher& operator=(const OutputMatcher&) = delete;

  /// Sets the logits of all tokens that may not come next to minus infinity. `avoid_stop`: those that end the output
  /// are among them as long as others may come. When it gives up, no token is left and `error` says why.
  void mask(std::span<float> logits, bool avoid_stop);
  /// Whether the last mask left nothing but stop tokens.
  bool only_stop_left() const { return only_stop_left_; }
  /// Whether any token may come next.
  bool has_next() { return find_tokens(); }
  /// Why the last mask left no token, there is none that may come next, or the last one was not accepted in time.
  const char* error() const { return error_; }

  /// Takes the next token; false when the grammar does not allow it, or when that takes too long to tell.
  bool accept(int32_t token);
  /// Whether the output is at its end: no token may follow.
  bool ended() const;

 private:
  struct Matcher;
  /// Calls a function of xgrammar within the time that is left; false when it throws.
  bool call(const std::function<void()>& work);
  /// Fills bits_; false without any token, and error_ says why.
  bool find_tokens();
  bool is_thinking() const { return progress_ && progress_->place() == ReasoningProgress::Place::inside; }
  void mask_thinking(std::span<float> logits) const;
  /// Takes a token that the grammar has accepted or not; false when it is not allowed.
  bool think(int32_t token, bool is_accepted);

  std::shared_ptr<const OutputGrammar> grammar_;
  std::shared_ptr<const ReasoningMarkers> markers_;  // null without reasoning
  std::optional<ReasoningProgress> progress_;        // as long as there may be reasoning
  std::unique_ptr<Matcher> matcher_;
  std::vector<uint32_t> bits_;  // of the tokens that may come next
  double seconds_left_;
  bool matches_ = true;  // so far; what opens reasoning need not
  bool only_stop_left_ = false;
  const char* error_ = nullptr;
};

}  // namespace packhorse
