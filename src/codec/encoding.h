#pragma once
// How a weight is encoded in memory, as a value that formats produce and kernels select on. Neither knows the other.
//
// An element is   value = (code - offset - zero) * scale * factor + min   of integer codes
//           or    value = code's value * scale * factor + min             of tables, minifloats and grids
//           or    the float itself                                        of f32, f16, bf16
// with one scale (and zero point, or min) per group; a format has a zero point or a min or neither. Two-level scales
// are products: scale = super_scale * sub_scale, and the same for min; sub scales are small integers, super scales
// 16-bit floats. An outer scale, one per row, multiplies or divides code * scale. Every product, quotient and sum is
// rounded once to float32, in the order of the formula; + min alone is fused with the product before it.
//
// Included by instruction-set files: plain structs, no std containers, nothing that emits code.

#include <cstdint>

namespace packhorse {

enum class Element : uint8_t {
  f32,
  f16,
  bf16,
  integer,    // `bits` wide, unsigned
  table,      // `bits` <= 4: an index into `table`
  minifloat,  // `bits` wide: sign, exponent, `mantissa` bits; every code is a number
  grid,       // an index into `grid`, which gives several neighbours at once, and their signs
};

/// Values of codes of at most 4 bits. The tables are objects with static storage: equality is identity.
struct CodeTable {
  const char* name;
  float values[16];
  // What integer kernels use: values[i] ~ approx_step * approx[i], the step of least squared error with |approx| <=
  // 127.
  int8_t approx[16];
  float approx_step;
};

/// Codebook of the "i" types of ggml: an entry is the values of `width` neighbours, one int8 each. Static storage, as
/// the tables.
struct CodeGrid {
  const char* name;
  const int8_t* values;  // [1 << index_bits][width]
  uint8_t width;         // 4 or 8
  uint8_t index_bits;    // 8 to 12
  bool has_signs;        // a sign per element stands beside the index
  // The same values as numbers of levels, packed: 2 bits each when width is 8, else 3. Plane 0 has the first half of
  // each entry, plane 1 the second. When index_bits is 12, the highest bit adds 4 to the levels instead.
  const uint8_t* planes;  // [2][1 << min(index_bits, 11)]
  int8_t levels[8];
};

enum class GroupKind : uint8_t {
  none,     // no scales: float elements
  row,      // one group per row
  along_k,  // `size` consecutive elements of a row, the last group may be short
  flat,     // `size` consecutive elements of the flattened matrix; groups cross rows
};
struct Grouping {
  GroupKind kind = GroupKind::none;
  uint32_t size = 0;
  friend bool operator==(const Grouping&, const Grouping&) = default;
};

enum class ScaleType : uint8_t {
  none,
  f32,
  f16,
  bf16,
  u8,
  i8,
  u4,
  e8m0,  // 2^(byte - 127)
  e4m3,  // 8-bit float without infinities
};

/// How the format itself quantizes activations; `none` leaves the choice to the engine's dtype. Static scales and zero
/// points are data of the weight (WeightInput).
struct ActScheme {
  enum class Code : uint8_t {
    none,
    llm_int8,  // float16, then int8 per token, outliers apart (arXiv 2208.07339)
    int8,      // -128..127
    fp8,       // e4m3, saturating at 448
    e2m1,      // saturating at 6
    int4,      // -8..7
    fp8_e5m2,  // saturating at 57344
  };
  enum class Scale : uint8_t {
    fixed,        // static: WeightInput::act_scale, with act_zero
    max,          // largest magnitude / divisor; when asymmetric (max(x, 0) - min(x, 0)) / divisor
    power_floor,  // 2^(floor(log2 of the largest magnitude) - shift)
    power_even,   // the same of the magnitude rounded half up to as many explicit bits as the element's mantissa has
    power_ceil,   // 2^ceil(log2(largest magnitude / divisor))
    nvfp4,        // e4m3(largest magnitude / divisor / act_scale) * act_scale
  };
  Code code = Code::none;
  Scale scale = Scale::max;
  bool symmetric = true;
  uint16_t group = 0;           // columns per dynamic scale; 0 = all of a token
  int8_t shift = 0;             // of power_floor and power_even: exponent of the element's largest power of two
  float divisor = 1;            // of max, power_ceil and nvfp4: what the largest magnitude becomes
  float smallest = 0;           // of max: scales below are raised to it
  float limit = 0;              // of max: magnitudes above count as this; 0 = none (FBGEMM's activation_scale_ub)
  float product = 1;            // llm_int8: a dot product is sum * (token maximum * weight scale) * product
  float outlier_threshold = 0;  // llm_int8: elements with |x| >= threshold stay float; 0 = off
  friend bool operator==(const ActScheme&, const ActScheme&) = default;
};

enum class Outer : uint8_t { none, multiply, divide };

struct Encoding {
  Element element = Element::f32;
  uint8_t bits = 32;     // of a code; of a grid's index
  int16_t offset = 0;    // integer codes: subtracted from the unsigned code
  uint8_t mantissa = 0;  // minifloats: bits of the mantissa; the exponent has the rest, less the sign
  uint8_t bias = 0;      // minifloats: of the exponent
  const CodeTable* table = nullptr;
  const CodeGrid* grid = nullptr;
  float factor = 1;  // constant of the format, as 1/127 where the stored scale is an absolute maximum
  Grouping grouping = {};
  ScaleType scale = ScaleType::none;  // of a group; the sub scale when super_size > 0
  ScaleType min = ScaleType::none;
  ScaleType zero = ScaleType::none;  // of a group beside the offset: u8, a whole number in 0..255, or a float
  uint16_t super_size = 0;           // elements per super scale (and super min), stored as f16; 0 = one level
  Outer outer = Outer::none;         // a float32 per row
  ActScheme act = {};
  friend bool operator==(const Encoding&, const Encoding&) = default;
};

inline constexpr bool is_float(Element e) { return e == Element::f32 || e == Element::f16 || e == Element::bf16; }
inline constexpr uint32_t element_bytes(Element e) { return e == Element::f32 ? 4 : is_float(e) ? 2 : 1; }

/// Bytes of one scale, min or zero point; a u4 scale shares its byte with the min.
inline constexpr int scale_bytes(ScaleType type) {
  switch (type) {
    case ScaleType::none:
    case ScaleType::u4:
      return 0;
    case ScaleType::f32:
      return 4;
    case ScaleType::f16:
    case ScaleType::bf16:
      return 2;
    default:
      return 1;
  }
}

/// Elements per scale within a row of K elements: K for `row`, size for `along_k`, gcd(K, size) for `flat`.
inline constexpr int64_t group_along_row(const Grouping& grouping, int64_t k) {
  if (grouping.kind == GroupKind::row) return k;
  int64_t a = grouping.size, b = grouping.kind == GroupKind::flat ? k : 0;
  while (b) {
    const int64_t r = a % b;
    a = b, b = r;
  }
  return a;
}

/// Bytes of a row's index bits above the low 8, for 32 columns.
inline constexpr int high_bytes(const CodeGrid& grid) { return (32 / grid.width * (grid.index_bits - 8) + 7) / 8; }

/// Minifloats by name, for designated initializers: {.element = Element::minifloat, .bits = 8, .mantissa = 3, .bias =
/// 7}.
inline constexpr Encoding kE4M3{.element = Element::minifloat, .bits = 8, .mantissa = 3, .bias = 7};
inline constexpr Encoding kE5M2{.element = Element::minifloat, .bits = 8, .mantissa = 2, .bias = 15};
inline constexpr Encoding kE2M3{.element = Element::minifloat, .bits = 6, .mantissa = 3, .bias = 1};
inline constexpr Encoding kE7M4{.element = Element::minifloat, .bits = 12, .mantissa = 4, .bias = 63};
inline constexpr Encoding kE3M2{.element = Element::minifloat, .bits = 6, .mantissa = 2, .bias = 3};

}  // namespace packhorse
