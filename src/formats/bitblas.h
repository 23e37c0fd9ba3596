#pragma once
// BitBLAS: what its two halves share. bitblas.cpp reads checkpoints, bitblas_in_flight.cpp makes weights while loading.

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "base/error.h"
#include "codec/tables.h"
#include "formats/act_schemes.h"
#include "formats/format.h"

namespace packhorse {

inline constexpr int64_t kBitblasMaxGroup = 1 << 30;

/// What W_dtype can name.
struct BitblasWeightType {
  std::string_view name;
  Encoding encoding;
  bool is_unsigned = false;  // the code is the value
};

constexpr Encoding bitblas_integers(uint8_t bits, int16_t offset) {
  return {.element = Element::integer, .bits = bits, .offset = offset};
}
constexpr Encoding bitblas_entries(uint8_t bits, const CodeTable& table) {
  return {.element = Element::table, .bits = bits, .table = &table};
}

inline constexpr BitblasWeightType kBitblasWeightTypes[] = {
    {"int1", bitblas_entries(1, kSign)},
    {"int2", bitblas_integers(2, 2)},
    {"int4", bitblas_integers(4, 8)},
    {"int8", bitblas_integers(8, 128)},
    {"uint1", bitblas_integers(1, 0), true},
    {"uint2", bitblas_integers(2, 0), true},
    {"uint4", bitblas_integers(4, 0), true},
    {"uint8", bitblas_integers(8, 0), true},
    {"nf4", bitblas_entries(4, kNf4)},
    {"fp4_e2m1", bitblas_entries(4, kFp4Powers)},
    {"e4m3_float8", kE4M3},
    {"e5m2_float8", kE5M2},
};

/// What A_dtype can name, and the weights that BitBLAS multiplies with such activations. Layers that call its integer
/// kernels quantize each token: the largest magnitude, but at least 1e-5, becomes the largest code.
struct BitblasActType {
  std::string_view name;
  ActScheme act = {};
  std::array<std::string_view, 8> weights = {};  // empty: all
};

constexpr ActScheme bitblas_per_token(ActScheme::Code code, float largest) {
  return {.code = code, .divisor = largest, .smallest = 1e-5f / largest};
}

inline constexpr BitblasActType kBitblasActTypes[] = {
    {"float16"},
    {"bfloat16"},
    {"int8",
     bitblas_per_token(ActScheme::Code::int8, kInt8Max),
     {"int1", "int2", "int4", "int8", "uint1", "uint2", "uint4"}},
    {"int4", bitblas_per_token(ActScheme::Code::int4, 7), {"int2", "int4"}},
    {"e4m3_float8", bitblas_per_token(ActScheme::Code::fp8, kE4M3Max), {"e4m3_float8"}},
    {"e5m2_float8", bitblas_per_token(ActScheme::Code::fp8_e5m2, 57344), {"e5m2_float8"}},
};

/// The row of a table of types that goes by the name. Throws Error{model}, as all that reads settings.
template <class Row, size_t kRows>
const Row& bitblas_type(const Row (&rows)[kRows], const std::string& name, const std::string& where) {
  const auto found = std::ranges::find(rows, name, &Row::name);
  if (found != std::end(rows)) return *found;
  std::string known;
  for (const Row& row : rows) known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
  fail_model("{}: not a type of BitBLAS that can be read (got '{}', expected one of {})", where, printable(name),
             known);
}

/// Activations of this name (empty: float16) for weights of that type. Throws Error{model} for what BitBLAS does not
/// multiply.
const BitblasActType& bitblas_act_type(const std::string& name, const BitblasWeightType& weights,
                                       const std::string& where);

/// zeros_mode: "original", "rescale" or "quantized"; empty when the settings have none. Throws Error{model}.
std::string bitblas_zeros_mode(const Json& config, const std::string& where);

inline constexpr std::string_view kBitblasSettings[] = {"W_dtype", "A_dtype", "group_size", "zeros_mode",
                                                        "bits",    "sym",     "desc_act"};
std::string check_bitblas_in_flight(const Json& config);
WeightPlan bitblas_in_flight(WeightPlan plan, const Module& module, const Json& config);

}  // namespace packhorse
