// DeepSpeed's FP quantizer (op fp_quantizer): nothing on disk but settings; plain weights become floats of 4, 6, 8 or
// 12 bits while they load. Groups of `group_size` elements of the flattened matrix, a float32 scale each:
//
//   bits  exponent  mantissa  bias  largest code stands for
//     4       2        1        1      6
//     6       3        2        3     28
//     8       4        3        7    480   no code is NaN
//    12       7        4       63    510   chosen, not the format's maximum
//
// scale = largest magnitude of the group / that number. The mantissa is rounded half up; what is too small for a normal
// number becomes the smallest of them, and zero stays zero.

#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>

#include "base/error.h"
#include "codec/bitsandbytes.h"
#include "formats/flat_source.h"
#include "formats/settings.h"
#include "formats/source.h"

namespace packhorse {
namespace {

constexpr std::string_view kMethod = "deepspeedfp";
constexpr int64_t kMaxGroup = 1 << 16;  // a group is read anew for each part of it
constexpr std::string_view kSettings[] = {"bits", "group_size"};

struct Width {
  Encoding encoding;
  float largest;
};
constexpr Width kWidths[] = {
    {{.element = Element::minifloat, .bits = 4, .mantissa = 1, .bias = 1}, 6}, {kE3M2, 28}, {kE4M3, 480}, {kE7M4, 510}};

struct Settings {
  Encoding encoding;
  float largest = 0;
};

Settings parse_settings(const Json& config) {
  const std::string where = "quantization_config";
  require_known_keys(config, "deepspeedfp", kSettings);
  const Json* bits = find_member(config, "bits");
  const auto* width = std::ranges::find_if(kWidths, [&](const Width& w) { return bits && *bits == w.encoding.bits; });
  if (width == std::end(kWidths)) {
    fail(ErrorKind::usage, "{}: bits: expected 4, 6, 8 or 12, as in {{\"bits\": 6, \"group_size\": 128}} (got {})",
         where, bits ? preview(*bits) : "nothing");
  }
  Settings settings{width->encoding, width->largest};
  const int64_t group = whole_number(config, "group_size", 1, kMaxGroup, 512, where);
  settings.encoding.grouping = {GroupKind::flat, static_cast<uint32_t>(group)};
  settings.encoding.scale = ScaleType::f32;
  return settings;
}

/// Code of a magnitude that is at most the largest, and a sign.
int encode(const Encoding& e, float value) {
  const auto u = std::bit_cast<uint32_t>(value);
  const int sign = static_cast<int>(u >> 31) << (e.bits - 1);
  const uint32_t magnitude = u & 0x7fffffff;
  if (magnitude == 0) return 0;
  const uint32_t rounded = magnitude + (1u << (22 - e.mantissa));
  const int exponent = static_cast<int>(rounded >> 23) - 127 + e.bias;
  if (exponent < 1) return sign | 1 << e.mantissa;
  const int code = exponent << e.mantissa | static_cast<int>(rounded >> (23 - e.mantissa) & ((1u << e.mantissa) - 1));
  return sign | std::min(code, (1 << (e.bits - 1)) - 1);
}

class Encoder {
 public:
  Encoder(WeightPlan plan, const Settings& settings) : source_(std::move(plan)), settings_(settings) {}

  void read(int64_t begin, int64_t count, RowBlock& rows) const {
    const Encoding& e = settings_.encoding;
    const int64_t k = source_.plan().k, group = e.grouping.size, first = begin * k, end = first + count * k;
    rows.resize(e, begin, count, k);
    const int64_t first_group = first / group, end_group = (end + group - 1) / group;
    std::vector<float> values(static_cast<size_t>((end_group - first_group) * group)),
        scales(static_cast<size_t>(end_group - first_group));
    source_.for_each_piece(first_group * group, std::min(end_group * group, source_.size()),
                           [&](int64_t at, std::span<const float> piece) {
                             std::ranges::copy(piece, values.begin() + (at - first_group * group));
                           });
    for (size_t g = 0; g < scales.size(); ++g) {
      const std::span part(values.data() + static_cast<int64_t>(g) * group, static_cast<size_t>(group));
      float largest = 0;
      for (const float value : part) largest = std::max(largest, std::fabs(value));
      scales[g] = largest / settings_.largest;
    }
    for (int64_t i = first; i < end; ++i) {
      const float scale = scales[static_cast<size_t>(i / group - first_group)];
      const float value = values[static_cast<size_t>(i - first_group * group)];
      const int code = scale > 0 ? encode(e, value / scale) : 0;
      uint8_t* out = rows.codes.data() + code_bytes(e, i - first);
      *out = static_cast<uint8_t>(code);
      if (e.bits > 8) out[1] = static_cast<uint8_t>(code >> 8);
    }
    spread_block_scales(scales.data(), first, rows.group_k, count * rows.n_groups, group, rows.scale.data());
  }

 private:
  FlatSource source_;
  Settings settings_;
};

std::string check_in_flight(const Json& config) {
  const Settings settings = parse_settings(config);
  return fmt::format("{} bits, group_size {}", settings.encoding.bits, settings.encoding.grouping.size);
}

WeightPlan in_flight(WeightPlan plan, const Module&, const Json& config) {
  const Settings settings = parse_settings(config);
  const auto encoder = std::make_shared<const Encoder>(plan, settings);
  plan.encoding = settings.encoding;
  plan.read = [encoder](int64_t begin, int64_t count, RowBlock& rows) { encoder->read(begin, count, rows); };
  return plan;
}

}  // namespace

extern constexpr Format kDeepSpeedFp{
    .name = kMethod, .check_in_flight = check_in_flight, .in_flight = in_flight, .settings = kSettings};

}  // namespace packhorse
