#pragma once
// A float weight as one flat array, for methods whose groups cross rows.

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/weight_plan.h"
#include "codec/widen.h"
#include "formats/in_flight.h"

namespace packhorse {

/// The elements of a float plan as one flat float32 array, read in pieces.
class FlatSource {
 public:
  /// A multiple of every block size.
  static constexpr int64_t kPiece = 16384;

  explicit FlatSource(WeightPlan plan) : plan_(std::move(plan)) {}
  const WeightPlan& plan() const { return plan_; }
  int64_t size() const { return plan_.n * plan_.k; }

  /// Calls f(position, values) for pieces of elements [first, end), kPiece of them each but for the last. Throws
  /// Error{model} for a value that is not finite.
  template <class F>
  void for_each_piece(int64_t first, int64_t end, F&& f) const {
    if (first >= end) return;
    const int64_t first_row = first / plan_.k, end_row = (end + plan_.k - 1) / plan_.k;
    RowBlock rows;
    plan_.read(first_row, end_row - first_row, rows);
    std::vector<float> values(static_cast<size_t>(std::min(kPiece, end - first)));
    for (int64_t at = first; at < end; at += kPiece) {
      const int64_t count = std::min(kPiece, end - at);
      const uint8_t* raw = rows.codes.data() + (at - first_row * plan_.k) * element_bytes(plan_.encoding.element);
      widen(plan_.encoding.element, raw, count, values.data());
      const auto piece = std::span<const float>(values).first(static_cast<size_t>(count));
      require_finite(piece, plan_.name);
      f(at, piece);
    }
  }

 private:
  WeightPlan plan_;
};

}  // namespace packhorse
