#include "text/detokenizer.h"

#include "text/tokenizer_parts.h"

namespace packhorse {
namespace {

void erase_all(std::string& text, std::string_view what) {
  for (size_t i = 0; (i = text.find(what, i)) != text.npos;) text.erase(i, what.size());
}

}  // namespace

IncrementalDetokenizer::IncrementalDetokenizer(const Tokenizer& tokenizer, bool skip_special_tokens,
                                               std::span<const int32_t> prompt, bool spaces_between_special_tokens)
    : tokenizer_(&tokenizer),
      assembler_(tokenizer.parts().decoder.invalid),
      n_strip_left_(tokenizer.parts().decoder.n_strip),
      skip_special_(skip_special_tokens) {
  std::string ignored;
  for (const int32_t id : prompt) {
    feed(id, ignored);
    ignored.clear();
  }
  joins_added_ = !skip_special_tokens && !spaces_between_special_tokens;
  after_added_ = false;
}

void IncrementalDetokenizer::feed(int32_t id, std::string& text) {
  const TokenizerParts& parts = tokenizer_->parts();
  const AddedToken* added = parts.added.find(id);
  if (!added && !parts.bpe.vocab().contains(id)) return;
  if (skip_special_ && added && added->special) return;
  const bool joined = joins_added_ && added && after_added_;
  after_added_ = added != nullptr;
  if (joined) {
    chunk_.clear();
    assembler_.push(added->content, chunk_);
    return append_stripped(chunk_, text);
  }
  bytes_ = added ? std::string_view(parts.added.text_of(*added)) : parts.bpe.vocab().text(id);
  const Decoder& decoder = parts.decoder;
  if (!(added && parts.prints_added_as_written)) {
    if (first_ && !decoder.first_token_without.empty()) erase_all(bytes_, decoder.first_token_without);
    for (const Decoder::Step& step : decoder.steps) step(bytes_);
  }
  if (!first_) bytes_.insert(0, decoder.separator);
  first_ = false;
  chunk_.clear();
  assembler_.push(bytes_, chunk_);
  append_stripped(chunk_, text);
}

std::string IncrementalDetokenizer::feed(int32_t id) {
  std::string text;
  feed(id, text);
  return text;
}

void IncrementalDetokenizer::flush(std::string& text) {
  chunk_.clear();
  assembler_.flush(chunk_);
  append_stripped(chunk_, text);
}

std::string IncrementalDetokenizer::flush() {
  std::string text;
  flush(text);
  return text;
}

void IncrementalDetokenizer::append_stripped(std::string_view chunk, std::string& text) {
  const std::string& strip = tokenizer_->parts().decoder.strip;
  while (n_strip_left_ > 0 && !chunk.empty()) {
    if (!chunk.starts_with(strip)) {
      n_strip_left_ = 0;
      break;
    }
    chunk.remove_prefix(strip.size());
    --n_strip_left_;
  }
  text.append(chunk);
}

}  // namespace packhorse
