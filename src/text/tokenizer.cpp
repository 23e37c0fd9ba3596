#include "text/tokenizer.h"

#include <algorithm>

#include "base/error.h"
#include "text/detokenizer.h"
#include "text/tokenizer_parts.h"
#include "text/utf8_assembler.h"

namespace packhorse {
namespace {

/// One text on its way to ids.
class Encoder {
 public:
  Encoder(const TokenizerParts& parts, size_t text_bytes, bool parse_special)
      : parts_(parts), scratch_(text_bytes), parse_special_(parse_special) {}

  std::vector<int32_t> ids;

  void add(std::string_view text) {
    const auto add_id = [this](int32_t id) { ids.push_back(id); };
    parts_.added.split(
        text, false, parse_special_,
        [&](std::string_view part, size_t begin) {
          const std::string_view normal = normalized(part);
          const bool at_start = begin == 0;
          parts_.added.split(
              normal, true, parse_special_,
              [&](std::string_view rest, size_t rest_begin) { add_words(rest, at_start && rest_begin == 0); }, add_id);
        },
        add_id);
  }

 private:
  std::string_view normalized(std::string_view text) {
    if (parts_.normalizer.empty()) return text;
    text_.assign(text);
    parts_.normalizer.apply(text_, scratch_);
    return text_;
  }
  void add_words(std::string_view text, bool at_start) {
    parts_.pre_tokenizer.split(text, at_start, scratch_,
                               [this](std::string_view word) { parts_.bpe.encode(word, bpe_scratch_, ids); });
  }

  const TokenizerParts& parts_;
  MatchScratch scratch_;
  BpeScratch bpe_scratch_;
  std::string text_;
  bool parse_special_;
};

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const TokenizerParts> parts) : parts_(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens, bool parse_special) const {
  std::string repaired;
  if (!is_valid_utf8(text)) text = repaired = to_valid_utf8(text);
  Encoder encoder(*parts_, text.size(), parse_special);
  if (add_special_tokens) encoder.ids = parts_->prefix;
  encoder.add(text);
  if (add_special_tokens) encoder.ids.insert(encoder.ids.end(), parts_->suffix.begin(), parts_->suffix.end());
  return std::move(encoder.ids);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  IncrementalDetokenizer detokenizer(*this, skip_special_tokens);
  std::string text;
  for (const int32_t id : ids) detokenizer.feed(id, text);
  detokenizer.flush(text);
  return text;
}

std::string Tokenizer::token_piece(int32_t id) const { return decode({&id, 1}, false); }

std::string Tokenizer::token_bytes(int32_t id) const {
  const AddedToken* added = parts_->added.find(id);
  if (added ? added->special : !parts_->bpe.vocab().contains(id) || id == parts_->unk) return {};
  std::string bytes(added ? std::string_view(parts_->added.text_of(*added)) : parts_->bpe.vocab().text(id));
  if (!(added && parts_->prints_added_as_written)) {
    for (const Decoder::Step& step : parts_->decoder.steps) step(bytes);
  }
  return parts_->decoder.separator + bytes;
}

std::string_view Tokenizer::token_text(int32_t id) const { return parts_->token_text(id); }

std::optional<int32_t> Tokenizer::find(std::string_view token_text) const {
  const int32_t id = parts_->find(token_text);
  return id < 0 ? std::nullopt : std::optional(id);
}

int64_t Tokenizer::vocab_size() const { return parts_->vocab_size(); }

void Tokenizer::require_ids_below(int64_t n_rows) const {
  if (vocab_size() <= n_rows) return;
  const auto last = static_cast<int32_t>(vocab_size() - 1);
  fail_model("{}: token '{}' has id {}, but the embedding has {} rows", parts_->source, printable(token_text(last)),
             last, n_rows);
}

bool Tokenizer::is_special(int32_t id) const {
  const AddedToken* token = parts_->added.find(id);
  return token && token->special;
}

std::optional<int32_t> Tokenizer::bos_id() const { return parts_->bos; }
std::optional<int32_t> Tokenizer::eos_id() const { return parts_->eos; }
std::optional<int32_t> Tokenizer::unk_id() const { return parts_->unk; }
std::optional<int32_t> Tokenizer::pad_id() const { return parts_->pad; }
const std::vector<int32_t>& Tokenizer::eos_ids() const { return parts_->eos_ids; }
const std::vector<std::string>& Tokenizer::warnings() const { return parts_->warnings; }

bool Tokenizer::adds_bos() const {
  return parts_->bos && !parts_->prefix.empty() && parts_->prefix.front() == *parts_->bos;
}

}  // namespace packhorse
