#include "codec/weight_plan.h"

#include <algorithm>
#include <memory>

#include "base/error.h"

namespace packhorse {

WeightPlan slice_rows(WeightPlan plan, int64_t begin, int64_t count) {
  WeightPlan out = plan;
  out.n = count;
  out.source_bytes = plan.n ? plan.source_bytes / static_cast<uint64_t>(plan.n) * static_cast<uint64_t>(count) : 0;
  out.read = [inner = std::move(plan.read), begin](int64_t first, int64_t n, RowBlock& rows) {
    inner(begin + first, n, rows);
    rows.row_begin = first;
  };
  return out;
}

namespace {

/// Appends the rows of `from` to `to`, which has room for them after `at` rows.
void copy_rows(const RowBlock& from, RowBlock& to, int64_t at) {
  const auto put = [&](const auto& source, auto& target) {
    if (from.n_rows > 0)
      std::copy(source.begin(), source.end(), target.begin() + static_cast<int64_t>(source.size()) / from.n_rows * at);
  };
  put(from.codes, to.codes);
  put(from.scale, to.scale);
  put(from.min, to.min);
  put(from.zero, to.zero);
  put(from.super_scale, to.super_scale);
  put(from.super_min, to.super_min);
  put(from.outer, to.outer);
}

}  // namespace

WeightPlan concat_rows(std::vector<WeightPlan> plans) {
  if (plans.size() == 1) return std::move(plans.front());
  WeightPlan out;
  out.encoding = plans.front().encoding;
  out.input = plans.front().input;
  out.k = plans.front().k;
  for (const WeightPlan& plan : plans) {
    if (plan.k != out.k || !(plan.encoding == out.encoding) || !(plan.input == out.input))
      fail(ErrorKind::internal, "{}: parts differ", plan.name);
    out.name += out.name.empty() ? plan.name : " + " + plan.name;
    out.n += plan.n;
    out.source_bytes += plan.source_bytes;
  }
  auto parts = std::make_shared<const std::vector<WeightPlan>>(std::move(plans));
  out.read = [parts, encoding = out.encoding, k = out.k](int64_t begin, int64_t count, RowBlock& rows) {
    RowBlock piece;
    bool sized = false;
    int64_t first = 0;  // row of the whole where the part begins
    for (const WeightPlan& part : *parts) {
      const int64_t from = std::max(begin, first), to = std::min(begin + count, first + part.n);
      if (from == begin && to == begin + count) {  // the usual case: all rows from one part
        part.read(from - first, count, rows);
        rows.row_begin = begin;
        return;
      }
      if (from < to) {
        if (!sized) rows.resize(encoding, begin, count, k), sized = true;
        part.read(from - first, to - from, piece);
        copy_rows(piece, rows, from - begin);
      }
      first += part.n;
    }
  };
  return out;
}

}  // namespace packhorse
