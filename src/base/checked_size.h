#pragma once
// 64-bit arithmetic on numbers from files: an overflow sticks until it is asked about.

#include <cstdint>
#include <optional>

namespace packhorse {

/// Unsigned 64-bit value whose + and * remember an overflow instead of wrapping.
class CheckedSize {
 public:
  constexpr CheckedSize(uint64_t value) : value_(value) {}  // NOLINT: implicit on purpose

  friend constexpr CheckedSize operator+(CheckedSize a, CheckedSize b) {
    CheckedSize r{a.value_ + b.value_};
    r.overflow_ = a.overflow_ || b.overflow_ || r.value_ < a.value_;
    return r;
  }
  friend constexpr CheckedSize operator*(CheckedSize a, CheckedSize b) {
    CheckedSize r{a.value_ * b.value_};
    r.overflow_ = a.overflow_ || b.overflow_ || (a.value_ != 0 && r.value_ / a.value_ != b.value_);
    return r;
  }
  /// The value, or nothing after an overflow.
  constexpr std::optional<uint64_t> get() const { return overflow_ ? std::nullopt : std::optional(value_); }
  /// True when the exact value is at most `limit`; an overflow never is.
  constexpr bool fits(uint64_t limit) const { return !overflow_ && value_ <= limit; }

 private:
  uint64_t value_;
  bool overflow_ = false;
};

}  // namespace packhorse
