#include "engine/output_text.h"

namespace packhorse {

OutputText::OutputText(const Tokenizer& tokenizer, std::span<const int32_t> prompt, const Options& options)
    : detokenizer_(tokenizer, options.skip_special_tokens, prompt, options.spaces_between_special_tokens),
      options_(options) {}

std::optional<size_t> OutputText::add(int32_t token, bool may_stop) {
  const size_t old_size = text_.size();
  detokenizer_.feed(token, text_);
  return options_.stops ? find_stop(old_size, may_stop) : std::nullopt;
}

std::optional<size_t> OutputText::find_stop(size_t from, bool may_stop) {
  for (size_t i = from; i < text_.size(); ++i) {
    state_ = options_.stops->advance(state_, text_[i]);
    const int32_t match = options_.stops->match(state_);
    if (match < 0 || !may_stop) continue;
    text_.resize(i + 1 - (options_.include_stop_string ? 0 : options_.stops->n_bytes(match)));
    n_held_ = 0;
    stopped_ = true;
    return static_cast<size_t>(match);
  }
  n_held_ = options_.include_stop_string ? 0 : options_.stops->n_pending(state_);
  return std::nullopt;
}

void OutputText::finish() {
  n_held_ = 0;
  if (!stopped_) detokenizer_.flush(text_);
}

std::string OutputText::take_new() {
  std::string fresh(visible().substr(n_taken_));
  n_taken_ += fresh.size();
  return fresh;
}

}  // namespace packhorse
