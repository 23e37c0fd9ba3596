#include "text/vocab.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace packhorse {
namespace {

uint32_t hash_of(std::string_view text) noexcept {
  constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15u;
  uint64_t h = text.size() * kMultiplier;
  while (!text.empty()) {
    const size_t n = std::min<size_t>(text.size(), 8);
    uint64_t word = 0;
    std::memcpy(&word, text.data(), n);
    h = (std::rotl(h, 23) ^ word) * kMultiplier;
    h ^= h >> 29;
    text.remove_prefix(n);
  }
  return static_cast<uint32_t>(h ^ h >> 32);
}

}  // namespace

void Vocab::reserve(size_t n_tokens, size_t n_bytes) {
  chars_.reserve(n_bytes);
  entries_.reserve(n_tokens);
  if (slots_.size() < 2 * n_tokens) {
    slots_.resize(std::bit_ceil(2 * n_tokens));
    grow();
  }
}

Vocab::Conflict Vocab::add(int32_t id, std::string_view text) {
  if (contains(id)) return Conflict::same_id;
  if (!text.empty()) {
    if (2 * (n_found_ + 1) > slots_.size()) {
      slots_.resize(std::max<size_t>(16, 2 * slots_.size()));
      grow();
    }
    const uint32_t hash = hash_of(text);
    Slot& slot = slots_[slot_of(text, hash)];
    if (slot.id >= 0) return Conflict::same_text;
    slot = {.hash = hash, .id = id};
    ++n_found_;
  }
  const auto index = static_cast<size_t>(id);
  if (index >= entries_.size()) entries_.resize(index + 1);
  entries_[index] = {.begin = chars_.size(), .n_bytes = static_cast<uint32_t>(text.size()), .used = true};
  chars_.append(text);
  max_token_bytes_ = std::max(max_token_bytes_, text.size());
  return Conflict::none;
}

int32_t Vocab::find(std::string_view text) const noexcept {
  if (slots_.empty()) return -1;
  return slots_[slot_of(text, hash_of(text))].id;
}

bool Vocab::contains(int32_t id) const noexcept {
  return id >= 0 && static_cast<size_t>(id) < entries_.size() && entries_[static_cast<size_t>(id)].used;
}

std::string_view Vocab::text(int32_t id) const noexcept {
  if (!contains(id)) return {};
  const Entry& e = entries_[static_cast<size_t>(id)];
  return std::string_view(chars_).substr(e.begin, e.n_bytes);
}

/// Puts every token into the (larger) table again.
void Vocab::grow() {
  std::fill(slots_.begin(), slots_.end(), Slot{});
  for (int32_t id = 0; id < size(); ++id) {
    if (const std::string_view t = text(id); !t.empty()) {
      const uint32_t hash = hash_of(t);
      slots_[slot_of(t, hash)] = {.hash = hash, .id = id};
    }
  }
}

/// The slot that holds `text`, or the free one where it belongs. The table is never full.
size_t Vocab::slot_of(std::string_view wanted, uint32_t hash) const noexcept {
  const size_t mask = slots_.size() - 1;
  for (size_t i = hash & mask;; i = (i + 1) & mask) {
    const Slot& slot = slots_[i];
    if (slot.id < 0 || (slot.hash == hash && text(slot.id) == wanted)) return i;
  }
}

}  // namespace packhorse
