#pragma once
// Which blocks of the KV pool are in use, by how many sequences, and in what order free ones are taken again.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace packhorse {

/// Reference counts and the free list of `n_blocks` equal blocks. Free blocks form one queue: those without content of
/// value are taken first, then the others, the longest unused first.
class BlockAllocator {
 public:
  explicit BlockAllocator(int64_t n_blocks);

  int64_t n_blocks() const { return static_cast<int64_t>(n_users_.size()); }
  int64_t n_free() const { return n_free_; }
  int32_t n_users(int32_t block) const { return n_users_[static_cast<size_t>(block)]; }

  /// Takes the first free block for one user. There must be one.
  int32_t allocate();
  /// One more user of a block; a free block leaves the queue with its content.
  void add_user(int32_t block);
  /// One user less. The last one puts the block into the queue: at its end when the content is worth keeping.
  void release(int32_t block, bool keep_content);

 private:
  struct Link {
    int32_t previous, next;
  };
  void insert_before(int32_t block, int32_t next);
  void unlink(int32_t block);

  std::vector<int32_t> n_users_;  // [n_blocks]
  std::vector<Link> links_;       // [n_blocks + 1]; the last one is head and tail of the ring
  int64_t n_free_ = 0;
};

}  // namespace packhorse
