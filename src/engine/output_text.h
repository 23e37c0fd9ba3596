#pragma once
// The text of one output: tokens become text, stop strings end it, and what may be the start of a stop string waits.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "engine/stop_strings.h"
#include "text/detokenizer.h"

namespace packhorse {

class OutputText {
 public:
  struct Options {
    bool skip_special_tokens = true;
    bool spaces_between_special_tokens = true;
    bool include_stop_string = false;
    const StopStrings* stops = nullptr;  // null without; outlives this object
  };
  OutputText(const Tokenizer& tokenizer, std::span<const int32_t> prompt, const Options& options);

  /// Adds a token. With `may_stop`, the first stop string whose end lies in the new text cuts the text, and its index
  /// is returned; nothing is to be added after that.
  std::optional<size_t> add(int32_t token, bool may_stop);
  /// The end of the output: text held back comes out.
  void finish();

  /// All text that may be shown.
  std::string_view visible() const { return std::string_view(text_).substr(0, text_.size() - n_held_); }
  /// The part of it that earlier calls did not return.
  std::string take_new();

 private:
  std::optional<size_t> find_stop(size_t from, bool may_stop);

  IncrementalDetokenizer detokenizer_;
  Options options_;
  std::string text_;
  int32_t state_ = 0;  // of options_.stops, after text_
  size_t n_held_ = 0;  // bytes at the end of text_ that may begin a stop string
  size_t n_taken_ = 0;
  bool stopped_ = false;
};

}  // namespace packhorse
