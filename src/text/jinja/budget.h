#pragma once
// What one chat template may consume. Templates come with checkpoints and requests, so they are hostile.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace packhorse {

struct TemplateLimits {
  int64_t max_steps = 1'000'000;         // evaluated nodes, loop rounds, and blocks of text passed over
  int64_t max_range = 1'000'000;         // elements of one range()
  int64_t max_output_bytes = 16 << 20;   // rendered text, and any string on the way there
  int64_t max_memory_bytes = 128 << 20;  // live strings plus all containers ever made
  int64_t max_source_bytes = 1 << 20;
  int max_depth = 256;  // nesting of the source, and of macro calls
};

namespace jinja {

/// Counts what a render consumes and throws Error{request} once it is too much.
class Budget {
 public:
  explicit Budget(const TemplateLimits& limits) : limits_(limits) {}
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  void step(int64_t n = 1) {
    if ((steps_ += n) > limits_.max_steps) exceeded("evaluation steps", limits_.max_steps);
  }
  /// Time of an operation that passes over so many bytes, characters one by one, or list elements.
  void scan_bytes(size_t n) { step(static_cast<int64_t>(n >> 8)); }
  void scan_chars(size_t n) { step(static_cast<int64_t>(n >> 4)); }
  void scan_items(size_t n) { step(static_cast<int64_t>(n >> 5)); }

  void take_memory(size_t bytes) {
    if ((memory_ += static_cast<int64_t>(bytes)) > limits_.max_memory_bytes) {
      exceeded("bytes of memory", limits_.max_memory_bytes);
    }
  }
  void give_memory(size_t bytes) noexcept { memory_ -= static_cast<int64_t>(bytes); }

  /// Call before a string of this size is made.
  void check_text(size_t bytes) const {
    if (bytes > static_cast<size_t>(limits_.max_output_bytes)) exceeded("bytes of text", limits_.max_output_bytes);
  }

  const TemplateLimits& limits() const { return limits_; }

  [[noreturn]] static void exceeded(std::string_view what, int64_t limit) {
    fail(ErrorKind::request, "chat template exceeded its budget (more than {} {})", limit, what);
  }

 private:
  TemplateLimits limits_;
  int64_t steps_ = 0;
  int64_t memory_ = 0;
};

}  // namespace jinja
}  // namespace packhorse
