#include "formats/in_flight.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "codec/round_codes.h"
#include "codec/widen.h"

namespace packhorse {
namespace {

/// Calls f(row of the matrix, values[k]) for rows [begin, begin + count) of a float plan.
template <class F>
void for_each_row(const WeightPlan& source, int64_t begin, int64_t count, F&& f) {
  const Element element = source.encoding.element;
  RowBlock raw;
  source.read(begin, count, raw);
  std::vector<float> values(static_cast<size_t>(source.k));
  for (int64_t r = 0; r < count; ++r) {
    widen(element, raw.codes.data() + r * source.k * element_bytes(element), source.k, values.data());
    f(begin + r, std::span<const float>(values));
  }
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

WeightPlan encode_rows(WeightPlan source, const Encoding& encoding, EncodeRow encode) {
  WeightPlan out = source;
  out.encoding = encoding;
  out.read = [source = std::move(source), encoding, encode = std::move(encode)](int64_t begin, int64_t count,
                                                                                RowBlock& rows) {
    rows.resize(encoding, begin, count, source.k);
    for_each_row(source, begin, count,
                 [&](int64_t n, std::span<const float> values) { encode(values, n, rows, n - begin); });
  };
  return out;
}

BlockMaxima::BlockMaxima(WeightPlan source, int64_t block_n, int64_t block_k)
    : source_(std::move(source)),
      block_n_(block_n),
      block_k_(block_k),
      blocks_per_row_(ceil_div(source_.k, block_k)),
      rows_per_band_(std::min<int64_t>(block_n, 64)),
      maxima_(static_cast<size_t>(ceil_div(source_.n, block_n) * blocks_per_row_)),
      measuring_(ceil_div(source_.n, rows_per_band_)) {}

std::span<const float> BlockMaxima::of_row(int64_t n) const {
  measuring_.run([this](int64_t band) { measure(band); }, [] {});
  return std::span(maxima_).subspan(static_cast<size_t>(n / block_n_ * blocks_per_row_),
                                    static_cast<size_t>(blocks_per_row_));
}

void BlockMaxima::measure(int64_t band) const {
  const int64_t begin = band * rows_per_band_, count = std::min(rows_per_band_, source_.n - begin);
  std::vector<float> own(static_cast<size_t>(blocks_per_row_));
  int64_t block_row = begin / block_n_;
  const auto flush = [&] {
    const std::lock_guard lock(mutex_);
    float* const out = maxima_.data() + block_row * blocks_per_row_;
    for (size_t b = 0; b < own.size(); ++b) out[b] = std::max(out[b], own[b]);
    std::ranges::fill(own, 0.0f);
  };
  for_each_row(source_, begin, count, [&](int64_t n, std::span<const float> values) {
    if (n / block_n_ != block_row) flush(), block_row = n / block_n_;
    for (int64_t k = 0; k < source_.k; ++k) {
      float& largest = own[static_cast<size_t>(k / block_k_)];
      largest = std::max(largest, std::fabs(values[static_cast<size_t>(k)]));
    }
  });
  flush();
}

void require_finite(std::span<const float> values, const std::string& name, std::optional<int64_t> row) {
  if (std::isfinite(largest_magnitude(values))) return;
  fail_model("{}: {}has a value that is not finite: it cannot be quantized while loading", name,
             row ? fmt::format("row {} ", *row) : "");
}

void require_known_keys(const Json& config, std::string_view method, std::span<const std::string_view> known) {
  for (const auto& [key, value] : config.items()) {
    if (key != "quant_method" && std::ranges::find(known, key) == known.end())
      fail(ErrorKind::usage, "quantization_config: {} has no setting '{}'", method, printable(key));
  }
}

bool is_expert(const Module& module) {
  return module.n_experts > 0 || module.name.find(".experts.") != std::string::npos;
}

}  // namespace packhorse
