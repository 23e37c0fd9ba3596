#pragma once
// Token texts by id, and ids by text: one block of characters and one open-addressing table, so that 100,000 tokens
// load in milliseconds.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace packhorse {

inline constexpr size_t kMaxTokenBytes = 16384;

class Vocab {
 public:
  /// Makes room; ids up to `n_tokens` need no further allocation.
  void reserve(size_t n_tokens, size_t n_bytes);

  /// What stands in the way of adding a token.
  enum class Conflict : uint8_t { none, same_text, same_id };
  /// Adds a token. An empty text gets an id but is never found. `id` must be at least 0; `text` at most kMaxTokenBytes.
  Conflict add(int32_t id, std::string_view text);

  /// Id of a text, or -1.
  int32_t find(std::string_view text) const noexcept;
  bool contains(int32_t id) const noexcept;
  /// Empty for an id that is not in use.
  std::string_view text(int32_t id) const noexcept;
  /// Highest id plus 1.
  int32_t size() const noexcept { return static_cast<int32_t>(entries_.size()); }
  size_t max_token_bytes() const noexcept { return max_token_bytes_; }

 private:
  struct Entry {
    uint64_t begin = 0;
    uint32_t n_bytes = 0;
    bool used = false;
  };
  struct Slot {
    uint32_t hash = 0;
    int32_t id = -1;
  };
  void grow();
  size_t slot_of(std::string_view text, uint32_t hash) const noexcept;

  std::string chars_;
  std::vector<Entry> entries_;  // by id
  std::vector<Slot> slots_;     // a power of two, at most half full
  size_t n_found_ = 0;          // slots in use
  size_t max_token_bytes_ = 0;
};

}  // namespace packhorse
