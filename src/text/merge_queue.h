#pragma once
// Pairs of a long word that wait to be joined, lowest rank first and leftmost first within a rank.
//
// One bucket of positions per rank. Positions nearly always arrive in ascending order, and such a bucket is read from
// the front; only one that was given a position out of order becomes a heap. A heap of all pairs would spend most of
// its time on cache misses when a word has millions.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

namespace packhorse {

class MergeQueue {
 public:
  /// For ranks below `n_ranks`; the queue must be empty.
  void resize(size_t n_ranks) {
    if (bucket_of_.size() != n_ranks) bucket_of_.assign(n_ranks, kNone);
  }

  void push(uint32_t rank, uint32_t position) {
    if (bucket_of_[rank] == kNone) open_bucket(rank);
    Bucket& b = buckets_[bucket_of_[rank]];
    if (!b.is_heap && !b.positions.empty() && position < b.positions.back()) {
      b.positions.erase(b.positions.begin(), b.positions.begin() + static_cast<std::ptrdiff_t>(b.n_read));
      b.n_read = 0;
      b.is_heap = true;
      std::make_heap(b.positions.begin(), b.positions.end(), std::greater<>());
    }
    b.positions.push_back(position);
    if (b.is_heap) std::push_heap(b.positions.begin(), b.positions.end(), std::greater<>());
  }

  /// False when nothing waits.
  bool pop(uint32_t& rank, uint32_t& position) {
    if (waiting_.empty()) return false;
    rank = waiting_.front();
    Bucket& b = buckets_[bucket_of_[rank]];
    if (b.is_heap) {
      std::pop_heap(b.positions.begin(), b.positions.end(), std::greater<>());
      position = b.positions.back();
      b.positions.pop_back();
    } else {
      position = b.positions[b.n_read++];
    }
    if (b.n_read == b.positions.size()) close_bucket(rank);
    return true;
  }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Bucket {
    std::vector<uint32_t> positions;
    size_t n_read = 0;  // from the front, while it is no heap
    bool is_heap = false;
  };

  void open_bucket(uint32_t rank) {
    if (free_.empty()) {
      free_.push_back(static_cast<uint32_t>(buckets_.size()));
      buckets_.emplace_back();
    }
    const uint32_t b = free_.back();
    free_.pop_back();
    buckets_[b].positions.clear();
    buckets_[b].n_read = 0;
    buckets_[b].is_heap = false;
    bucket_of_[rank] = b;
    waiting_.push_back(rank);
    std::push_heap(waiting_.begin(), waiting_.end(), std::greater<>());
  }
  void close_bucket(uint32_t rank) {  // of the lowest rank
    free_.push_back(bucket_of_[rank]);
    bucket_of_[rank] = kNone;
    std::pop_heap(waiting_.begin(), waiting_.end(), std::greater<>());
    waiting_.pop_back();
  }

  std::vector<Bucket> buckets_;
  std::vector<uint32_t> free_;       // buckets not in use
  std::vector<uint32_t> bucket_of_;  // by rank
  std::vector<uint32_t> waiting_;    // heap of the ranks that have a bucket
};

}  // namespace packhorse
