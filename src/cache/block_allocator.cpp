#include "cache/block_allocator.h"

#include <cassert>

namespace packhorse {

BlockAllocator::BlockAllocator(int64_t n_blocks)
    : n_users_(static_cast<size_t>(n_blocks)), links_(static_cast<size_t>(n_blocks) + 1) {
  const auto ring = static_cast<int32_t>(n_blocks);
  links_.back() = {ring, ring};
  for (int32_t block = 0; block < ring; ++block) insert_before(block, ring);
}

int32_t BlockAllocator::allocate() {
  assert(n_free_ > 0);
  const int32_t block = links_.back().next;
  add_user(block);
  return block;
}

void BlockAllocator::add_user(int32_t block) {
  if (n_users_[static_cast<size_t>(block)]++ == 0) unlink(block);
}

void BlockAllocator::release(int32_t block, bool keep_content) {
  int32_t& users = n_users_[static_cast<size_t>(block)];
  assert(users > 0);
  if (--users > 0) return;
  const auto ring = static_cast<int32_t>(n_blocks());
  insert_before(block, keep_content ? ring : links_.back().next);
}

void BlockAllocator::insert_before(int32_t block, int32_t next) {
  const int32_t previous = links_[static_cast<size_t>(next)].previous;
  links_[static_cast<size_t>(block)] = {previous, next};
  links_[static_cast<size_t>(previous)].next = block;
  links_[static_cast<size_t>(next)].previous = block;
  ++n_free_;
}

void BlockAllocator::unlink(int32_t block) {
  const auto [previous, next] = links_[static_cast<size_t>(block)];
  links_[static_cast<size_t>(previous)].next = next;
  links_[static_cast<size_t>(next)].previous = previous;
  --n_free_;
}

}  // namespace packhorse
