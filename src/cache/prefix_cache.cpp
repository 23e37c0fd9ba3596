#include "cache/prefix_cache.h"

#include <algorithm>
#include <random>

namespace packhorse {
namespace {

uint64_t random_secret() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

uint64_t scramble(uint64_t x) {  // the finalizer of splitmix64: a bijection in which every bit reaches every other
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

size_t PrefixCache::KeyHash::operator()(const Key& key) const {
  uint64_t hash = scramble(secret ^ key.parent_node);
  for (const int32_t token : key.tokens) hash = scramble(hash ^ static_cast<uint32_t>(token));
  for (const char c : key.salt) hash = scramble(hash ^ static_cast<unsigned char>(c));
  return hash;
}

PrefixCache::PrefixCache(int64_t n_blocks, bool enabled)
    : enabled_(enabled),
      blocks_(n_blocks),
      known_(0, KeyHash{random_secret()}),
      entries_(static_cast<size_t>(n_blocks)) {}

PrefixCache::Key PrefixCache::make_key(uint64_t parent_node, std::span<const int32_t> tokens, std::string_view salt) {
  Key key{.parent_node = parent_node, .salt = parent_node == 0 ? std::string(salt) : std::string()};
  std::copy_n(tokens.begin(), kKvBlockTokens, key.tokens.begin());
  return key;
}

std::vector<int32_t> PrefixCache::acquire(std::span<const int32_t> tokens, std::string_view salt) {
  std::vector<int32_t> found;
  uint64_t node = 0;
  for (; tokens.size() >= kKvBlockTokens; tokens = tokens.subspan(kKvBlockTokens)) {
    const auto it = known_.find(make_key(node, tokens, salt));
    if (it == known_.end()) break;
    node = it->second.node;
    found.push_back(it->second.block);
  }
  for (const int32_t block : found) blocks_.add_user(block);  // once nothing can throw any more
  return found;
}

int32_t PrefixCache::allocate() {
  const int32_t block = blocks_.allocate();
  forget(block);
  return block;
}

int32_t PrefixCache::insert(int32_t parent, std::span<const int32_t> tokens, std::string_view salt, int32_t block) {
  if (!enabled_) return block;
  const auto* parent_entry = parent < 0 ? nullptr : entries_[static_cast<size_t>(parent)];
  if (parent >= 0 && !parent_entry) return block;  // cleared meanwhile: what follows is not reachable either
  const auto [it, is_new] = known_.try_emplace(make_key(parent_entry ? parent_entry->second.node : 0, tokens, salt));
  if (is_new) {
    it->second = {block, ++last_node_};
    entries_[static_cast<size_t>(block)] = &*it;
  } else if (it->second.block != block) {
    blocks_.add_user(it->second.block);
    blocks_.release(block, false);
  }
  return it->second.block;
}

void PrefixCache::release(std::span<const int32_t> blocks) {
  for (size_t i = blocks.size(); i-- > 0;) {
    blocks_.release(blocks[i], entries_[static_cast<size_t>(blocks[i])] != nullptr);
  }
}

void PrefixCache::clear() {
  known_.clear();
  std::fill(entries_.begin(), entries_.end(), nullptr);
}

void PrefixCache::forget(int32_t block) {
  auto*& entry = entries_[static_cast<size_t>(block)];
  if (entry) known_.erase(known_.find(entry->first));
  entry = nullptr;
}

}  // namespace packhorse
