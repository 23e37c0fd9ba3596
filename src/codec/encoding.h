#pragma once
// How a weight is encoded in memory, as a value that formats produce and kernels select on. Neither knows the other.
//
// An element is   value = (code - offset - zero) * scale * factor + min   (integer codes; a format has a factor, zero
//                                                                          points or a min, or none of them)
//           or    value = table[code] * scale                      (16-entry tables)
//           or    the float itself                           (f32, f16, bf16)
// with one scale (and zero point, or min) per group. Two-level scales are products: scale = super_scale * sub_scale,
// and the same for min; sub scales are small integers, super scales 16-bit floats. All products are rounded once to
// float32.
//
// Included by instruction-set files: plain structs, no std containers, nothing that emits code.

#include <cstdint>

namespace packhorse {

enum class Element : uint8_t { f32, f16, bf16, integer, table };

/// Sixteen values of a 4-bit code. The tables are objects with static storage: equality is identity.
struct CodeTable {
  const char* name;
  float values[16];
  // What integer kernels use: values[i] ~ approx_step * approx[i], the step of least squared error with |approx| <=
  // 127.
  int8_t approx[16];
  float approx_step;
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

enum class ScaleType : uint8_t { none, f32, f16, bf16, u8, i8, u4 };

/// How the format itself quantizes activations; `none` leaves the choice to the engine's dtype.
struct ActScheme {
  enum class Code : uint8_t { none, int8 };
  Code code = Code::none;       // dynamic, symmetric, one scale per token
  float product = 1;            // a dot product is sum * (token maximum * weight scale) * product
  float outlier_threshold = 0;  // elements with |x| >= threshold stay float; 0 = off (LLM.int8(), arXiv 2208.07339)
  friend bool operator==(const ActScheme&, const ActScheme&) = default;
};

struct Encoding {
  Element element = Element::f32;
  uint8_t bits = 32;   // of a code
  int16_t offset = 0;  // integer codes: subtracted from the unsigned code
  const CodeTable* table = nullptr;
  float factor = 1;  // constant of the format, as 1/127 where the stored scale is an absolute maximum
  Grouping grouping = {};
  ScaleType scale = ScaleType::none;  // of a group; the sub scale when super_size > 0
  ScaleType min = ScaleType::none;
  ScaleType zero = ScaleType::none;  // of a group beside the offset, u8: a whole number in 0..255; one level only
  uint16_t super_size = 0;           // elements per super scale (and super min), stored as f16; 0 = one level
  ActScheme act = {};
  friend bool operator==(const Encoding&, const Encoding&) = default;
};

inline constexpr bool is_float(Element e) { return e == Element::f32 || e == Element::f16 || e == Element::bf16; }
inline constexpr uint32_t element_bytes(Element e) { return e == Element::f32 ? 4 : is_float(e) ? 2 : 1; }

}  // namespace packhorse
