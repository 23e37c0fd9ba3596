// Plain weights that become block types of ggml while they load: quantization='q4_k' and so on. Each module gets what
// llama-quantize writes for it with --pure and without an importance matrix, bit for bit.
//
// A row that is no whole number of blocks gets the type that llama-quantize falls back to:
//
//   q4_k -> q5_0    q5_k -> q5_1    q6_k -> q8_0    iq4_xs -> iq4_nl    q2_k, q3_k, tq1_0, tq2_0 -> q4_0
//
// and where 32 does not divide it either, the weight stays as it is.
//
// The iq1, iq2 and iq3 types need an importance matrix, that is, calibration. llama-quantize makes iq3_s without one
// too, by weights that stand in for it; that is not done here.

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "codec/gguf_encode.h"
#include "formats/gguf_blocks.h"
#include "formats/in_flight.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

struct Type {
  std::string_view name;
  DType type;
  void (*encode)(std::span<const float> row, const GgufTarget& out);
  DType fallback;  // for rows of no whole number of blocks; itself = none
};
constexpr Type kTypes[] = {
    {"q4_0", DType::q4_0, encode_q4_0, DType::q4_0},         {"q4_1", DType::q4_1, encode_q4_1, DType::q4_1},
    {"q5_0", DType::q5_0, encode_q5_0, DType::q5_0},         {"q5_1", DType::q5_1, encode_q5_1, DType::q5_1},
    {"q8_0", DType::q8_0, encode_q8_0, DType::q8_0},         {"q2_k", DType::q2_k, encode_q2_k, DType::q4_0},
    {"q3_k", DType::q3_k, encode_q3_k, DType::q4_0},         {"q4_k", DType::q4_k, encode_q4_k, DType::q5_0},
    {"q5_k", DType::q5_k, encode_q5_k, DType::q5_1},         {"q6_k", DType::q6_k, encode_q6_k, DType::q8_0},
    {"iq4_nl", DType::iq4_nl, encode_iq4_nl, DType::iq4_nl}, {"iq4_xs", DType::iq4_xs, encode_iq4_xs, DType::iq4_nl},
    {"tq1_0", DType::tq1_0, encode_ternary, DType::q4_0},    {"tq2_0", DType::tq2_0, encode_ternary, DType::q4_0},
};

/// llama-quantize's mixtures of types, by what most of their weights have.
struct Mixture {
  std::string_view name, type;
};
constexpr Mixture kMixtures[] = {{"q2_k_s", "q2_k"}, {"q3_k_s", "q3_k"}, {"q3_k_m", "q3_k"}, {"q3_k_l", "q3_k"},
                                 {"q4_k_s", "q4_k"}, {"q4_k_m", "q4_k"}, {"q5_k_s", "q5_k"}, {"q5_k_m", "q5_k"}};

constexpr std::string_view kNeedImportance[] = {"iq1_s", "iq1_m",  "iq2_xxs", "iq2_xs", "iq2_s",
                                                "iq2_m", "iq3_xs", "iq3_xxs", "iq3_s",  "iq3_m"};

constexpr auto kNames = [] {
  std::array<std::string_view, std::size(kTypes) + std::size(kMixtures) + std::size(kNeedImportance)> names;
  auto out = names.begin();
  for (const Type& type : kTypes) *out++ = type.name;
  for (const Mixture& mixture : kMixtures) *out++ = mixture.name;
  std::ranges::copy(kNeedImportance, out);
  return names;
}();

std::string method_of(const Json& config) { return config.at("quant_method").get<std::string>(); }

const Type& find_type(std::string_view name) { return *std::ranges::find(kTypes, name, &Type::name); }

/// What the rows of K elements get; null where no block of the type or its fallback divides them.
const Type* type_for(const Type& wanted, int64_t k) {
  const auto fits = [k](const Type& type) { return k % info(type.type).block_size == 0; };
  if (fits(wanted)) return &wanted;
  const Type& other = *std::ranges::find(kTypes, wanted.fallback, &Type::type);
  return fits(other) ? &other : nullptr;
}

std::string check_in_flight(const Json& config) {
  const std::string method = method_of(config);
  if (const auto* mixture = std::ranges::find(kMixtures, method, &Mixture::name); mixture != std::end(kMixtures)) {
    fail(ErrorKind::usage, "quantization '{}' is a mixture of block types that llama-quantize writes; use '{}' here",
         method, mixture->type);
  }
  if (std::ranges::find(kNeedImportance, method) != std::end(kNeedImportance)) {
    fail(ErrorKind::usage,
         "quantization '{}' needs an importance matrix and so cannot be made while loading; use a GGUF file of that "
         "type, or 'iq4_xs'",
         method);
  }
  require_known_keys(config, method, {});
  const uint32_t size = info(find_type(method).type).block_size;
  return size == 32 ? "blocks of 32; other rows stay as they are"
                    : fmt::format("blocks of {}; other rows get blocks of 32", size);
}

bool is_finite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

bool has_finite_scales(const RowBlock& rows, int64_t r) {
  const auto part = [r](const std::vector<float>& all, int64_t size) {
    const std::span<const float> values(all);
    return all.empty() ? values : values.subspan(static_cast<size_t>(r * size), static_cast<size_t>(size));
  };
  return is_finite(part(rows.scale, rows.n_groups)) && is_finite(part(rows.min, rows.n_groups)) &&
         is_finite(part(rows.super_scale, rows.n_supers)) && is_finite(part(rows.super_min, rows.n_supers));
}

WeightPlan in_flight(WeightPlan plan, const Module&, const Json& config) {
  const Type* const type = type_for(find_type(method_of(config)), plan.k);
  if (!type) return plan;
  const Encoding& encoding = find_gguf_block(type->type)->encoding;
  auto encode = [type, &encoding, name = plan.name](std::span<const float> values, int64_t n, RowBlock& rows,
                                                    int64_t r) {
    const bool is_sound = is_finite(values);
    if (is_sound) type->encode(values, gguf_row(encoding, rows, r));
    if (!is_sound || !has_finite_scales(rows, r))
      fail_model("{}: row {} has values that {} cannot hold: it cannot be quantized while loading", name, n,
                 type->name);
  };
  return encode_rows(std::move(plan), encoding, std::move(encode));
}

}  // namespace

extern constexpr Format kGgufBlocks{
    .name = "q4_0", .aliases = kNames, .check_in_flight = check_in_flight, .in_flight = in_flight};

}  // namespace packhorse
