#pragma once
// Full KV blocks by what they hold, so that a prompt that starts as an earlier one did is not computed again.
//
// Known blocks form a tree: a block is found by its parent, its 16 tokens and, at the root, the salt. Lookups compare
// all of these, so a hash collision can never lend one prompt the keys and values of another. Ids of tree nodes are
// never used twice; children of a forgotten block are thus unreachable at once.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache/block_allocator.h"
#include "cache/kv_pool.h"

namespace packhorse {

class PrefixCache {
 public:
  /// Blocks that nobody uses stay known until `allocate` needs them. When not `enabled`, nothing is ever found.
  PrefixCache(int64_t n_blocks, bool enabled);

  int64_t n_free() const { return blocks_.n_free(); }
  int64_t n_blocks() const { return blocks_.n_blocks(); }

  /// Known blocks for the longest prefix of `tokens`; the caller becomes a user of each.
  std::vector<int32_t> acquire(std::span<const int32_t> tokens, std::string_view salt);
  /// A block to write into, with one user; what it held is forgotten. n_free() must be positive.
  int32_t allocate();
  /// Makes known that `block` holds `tokens` (16 of them) after the block `parent` (-1 at the start of a sequence).
  /// Returns the block to use from now on: when an equal one was known, the user of `block` has been moved to it.
  int32_t insert(int32_t parent, std::span<const int32_t> tokens, std::string_view salt, int32_t block);
  /// Ends one use of each block. The tail of a sequence is forgotten before its head.
  void release(std::span<const int32_t> blocks);
  /// Forgets everything; blocks in use stay in use.
  void clear();

 private:
  struct Key {
    uint64_t parent_node = 0;  // 0 = root
    std::array<int32_t, kKvBlockTokens> tokens{};
    std::string salt;  // only below the root
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    uint64_t secret;  // of this cache, so that nobody can prepare colliding prompts
    size_t operator()(const Key& key) const;
  };
  struct Known {
    int32_t block = -1;
    uint64_t node = 0;
  };
  static Key make_key(uint64_t parent_node, std::span<const int32_t> tokens, std::string_view salt);
  void forget(int32_t block);

  using Map = std::unordered_map<Key, Known, KeyHash>;
  bool enabled_;
  BlockAllocator blocks_;
  Map known_;
  std::vector<Map::value_type*> entries_;  // [n_blocks] of known blocks; null for others
  uint64_t last_node_ = 0;
};

}  // namespace packhorse
