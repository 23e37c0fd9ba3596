#pragma once
// The merges of a BPE model: (left id, right id) -> rank and merged id, in one open-addressing table.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

namespace packhorse {

struct Merge {
  static constexpr uint32_t kNoRank = UINT32_MAX;
  uint32_t rank = kNoRank;  // the lowest goes first
  int32_t id = -1;
  bool exists() const { return rank != kNoRank; }
};

class MergeTable {
 public:
  MergeTable() = default;
  explicit MergeTable(size_t n_merges) : slots_(std::bit_ceil(n_merges + n_merges / 3 + 2)) {}

  /// At most as many different pairs as the constructor was told; a pair given twice keeps the later merge.
  void set(int32_t left, int32_t right, Merge merge) {
    const uint64_t key = key_of(left, right);
    slots_[slot_of(key)] = {.key = key, .merge = merge};
    n_ranks_ = std::max<size_t>(n_ranks_, merge.rank + size_t{1});
  }
  /// Highest rank plus 1.
  size_t n_ranks() const { return n_ranks_; }
  Merge find(int32_t left, int32_t right) const {
    if (slots_.empty()) return {};
    return slots_[slot_of(key_of(left, right))].merge;
  }

 private:
  static constexpr uint64_t kFree = UINT64_MAX;  // ids are not negative
  struct Slot {
    uint64_t key = kFree;
    Merge merge;
  };
  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t key) const {
    uint64_t h = key * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
    const size_t mask = slots_.size() - 1;
    for (size_t i = (h >> 32) & mask;; i = (i + 1) & mask) {
      if (slots_[i].key == key || slots_[i].key == kFree) return i;
    }
  }

  std::vector<Slot> slots_;
  size_t n_ranks_ = 0;
};

}  // namespace packhorse
