#include "engine/structured/reasoning.h"

#include <algorithm>
#include <limits>

namespace packhorse {
namespace {

/// Whether a token with this text may stand in a marker, beginning at any byte of it: `reaches` gets what is left of
/// the marker there.
template <class Reaches>
bool may_stand_in(std::string_view marker, Reaches&& reaches) {
  for (size_t at = 0; at < marker.size(); ++at) {
    if (reaches(marker.substr(at))) return true;
  }
  return false;
}

bool is_opener(std::string_view start, std::string_view text) {
  return may_stand_in(start, [&](std::string_view rest) { return rest.starts_with(text) || text.starts_with(rest); });
}

bool is_crosser(std::string_view end, std::string_view text) {
  const size_t whole = text.find(end);
  if (whole != text.npos && whole + end.size() < text.size()) return true;
  return may_stand_in(end, [&](std::string_view rest) { return text.size() > rest.size() && text.starts_with(rest); });
}

}  // namespace

ReasoningMarkers::ReasoningMarkers(const StructuredOutputs& wanted, const Tokenizer& tokenizer, int64_t vocab_size,
                                   bool skip_special_tokens)
    : starts_(wanted.reasoning_starts),
      ends_(wanted.reasoning_ends),
      tokenizer_(tokenizer),
      skip_special_tokens_(skip_special_tokens) {
  const int64_t n_tokens = std::min(vocab_size, tokenizer.vocab_size());
  for (int64_t i = 0; i < n_tokens; ++i) {
    const auto id = static_cast<int32_t>(i);
    const std::string text = text_of(id);
    if (text.empty()) continue;
    const auto stands_in = [&](const std::vector<std::string>& markers, auto test) {
      return std::ranges::any_of(markers, [&](const std::string& marker) { return test(marker, text); });
    };
    if (stands_in(starts_, is_opener)) openers_.push_back({id, text});
    if (stands_in(ends_, is_crosser)) crossers_.push_back({id, text});
  }
}

std::string ReasoningMarkers::text_of(int32_t token) const {
  std::string bytes = tokenizer_.token_bytes(token);  // none of special tokens
  if (!bytes.empty()) return bytes;
  std::string piece = tokenizer_.token_piece(token);
  const auto is_part = [&](const std::string& marker) { return marker.find(piece) != marker.npos; };
  const bool is_marker = std::ranges::any_of(starts_, is_part) || std::ranges::any_of(ends_, is_part);
  return is_marker || !skip_special_tokens_ || !tokenizer_.is_special(token) ? piece : "";
}

bool ReasoningProgress::add(const ReasoningMarkers& markers, std::string_view text) {
  for (const char c : text) {
    if (place_ == Place::behind) return false;
    if (place_ == Place::absent) break;
    add(markers, c);
  }
  return true;
}

void ReasoningProgress::add(const ReasoningMarkers& markers, char c) {
  text_ += c;
  if (place_ == Place::opening) {
    const auto goes_on = [&](const std::string& start) { return start.starts_with(text_); };
    if (std::ranges::find(markers.starts(), text_) != markers.starts().end()) {
      place_ = Place::inside;
      text_.clear();
    } else if (std::ranges::none_of(markers.starts(), goes_on)) {
      place_ = Place::absent;
    }
    return;
  }
  if (std::ranges::any_of(markers.ends(), [&](const std::string& end) { return text_.ends_with(end); })) {
    place_ = Place::behind;
    return;
  }
  const auto begins_with = [&](const std::string& end) { return end.starts_with(text_); };
  while (!text_.empty() && std::ranges::none_of(markers.ends(), begins_with)) text_.erase(0, 1);
}

void ReasoningProgress::allow_openers(const ReasoningMarkers& markers, std::span<uint32_t> bits) const {
  for (const auto& [id, text] : markers.openers()) {
    ReasoningProgress next = *this;
    if (next.add(markers, text) && next.place() != Place::absent)
      bits[static_cast<size_t>(id / 32)] |= uint32_t{1} << (id % 32);
  }
}

void ReasoningProgress::mask_crossers(const ReasoningMarkers& markers, std::span<float> logits) const {
  for (const auto& [id, text] : markers.crossers()) {
    ReasoningProgress next = *this;
    if (!next.add(markers, text)) logits[static_cast<size_t>(id)] = -std::numeric_limits<float>::infinity();
  }
}

}  // namespace packhorse
