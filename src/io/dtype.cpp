#include "io/dtype.h"

#include <cstddef>
#include <iterator>

namespace packhorse {
namespace {

constexpr DTypeInfo kInfo[] = {
    {DType::boolean, "BOOL", 1, 1},
    {DType::u8, "U8", 1, 1},
    {DType::i8, "I8", 1, 1},
    {DType::u16, "U16", 1, 2},
    {DType::i16, "I16", 1, 2},
    {DType::u32, "U32", 1, 4},
    {DType::i32, "I32", 1, 4},
    {DType::u64, "U64", 1, 8},
    {DType::i64, "I64", 1, 8},
    {DType::f16, "F16", 1, 2},
    {DType::bf16, "BF16", 1, 2},
    {DType::f32, "F32", 1, 4},
    {DType::f64, "F64", 1, 8},
    {DType::f8_e4m3, "F8_E4M3", 1, 1},
    {DType::f8_e5m2, "F8_E5M2", 1, 1},
    {DType::f8_e8m0, "F8_E8M0", 1, 1},
    {DType::f4, "F4", 2, 1},

    {DType::q4_0, "Q4_0", 32, 18},
    {DType::q4_1, "Q4_1", 32, 20},
    {DType::q5_0, "Q5_0", 32, 22},
    {DType::q5_1, "Q5_1", 32, 24},
    {DType::q8_0, "Q8_0", 32, 34},
    {DType::q2_k, "Q2_K", 256, 84},
    {DType::q3_k, "Q3_K", 256, 110},
    {DType::q4_k, "Q4_K", 256, 144},
    {DType::q5_k, "Q5_K", 256, 176},
    {DType::q6_k, "Q6_K", 256, 210},
    {DType::iq2_xxs, "IQ2_XXS", 256, 66},
    {DType::iq2_xs, "IQ2_XS", 256, 74},
    {DType::iq3_xxs, "IQ3_XXS", 256, 98},
    {DType::iq1_s, "IQ1_S", 256, 50},
    {DType::iq4_nl, "IQ4_NL", 32, 18},
    {DType::iq3_s, "IQ3_S", 256, 110},
    {DType::iq2_s, "IQ2_S", 256, 82},
    {DType::iq4_xs, "IQ4_XS", 256, 136},
    {DType::iq1_m, "IQ1_M", 256, 56},
    {DType::tq1_0, "TQ1_0", 256, 54},
    {DType::tq2_0, "TQ2_0", 256, 66},
    {DType::mxfp4, "MXFP4", 32, 17},
    {DType::nvfp4, "NVFP4", 64, 36},
    {DType::q1_0, "Q1_0", 128, 18},
    {DType::q2_0, "Q2_0", 64, 18},
};
constexpr size_t kNumDTypes = static_cast<size_t>(DType::q2_0) + 1;

constexpr bool is_indexed_by_dtype() {
  for (size_t i = 0; i < std::size(kInfo); ++i) {
    if (static_cast<size_t>(kInfo[i].type) != i) return false;
  }
  return std::size(kInfo) == kNumDTypes;
}
static_assert(is_indexed_by_dtype());

struct GgmlId {
  uint32_t id;
  DType type;
};
constexpr GgmlId kGgmlIds[] = {
    {0, DType::f32},    {1, DType::f16},     {2, DType::q4_0},     {3, DType::q4_1},    {6, DType::q5_0},
    {7, DType::q5_1},   {8, DType::q8_0},    {10, DType::q2_k},    {11, DType::q3_k},   {12, DType::q4_k},
    {13, DType::q5_k},  {14, DType::q6_k},   {16, DType::iq2_xxs}, {17, DType::iq2_xs}, {18, DType::iq3_xxs},
    {19, DType::iq1_s}, {20, DType::iq4_nl}, {21, DType::iq3_s},   {22, DType::iq2_s},  {23, DType::iq4_xs},
    {24, DType::i8},    {25, DType::i16},    {26, DType::i32},     {27, DType::i64},    {28, DType::f64},
    {29, DType::iq1_m}, {30, DType::bf16},   {34, DType::tq1_0},   {35, DType::tq2_0},  {39, DType::mxfp4},
    {40, DType::nvfp4}, {41, DType::q1_0},   {42, DType::q2_0},
};

}  // namespace

const DTypeInfo& info(DType type) noexcept { return kInfo[static_cast<size_t>(type)]; }

const DTypeInfo* safetensors_dtype(std::string_view name) noexcept {
  for (const DTypeInfo& row : kInfo) {
    if (!is_ggml_block(row.type) && row.name == name) return &row;
  }
  return nullptr;
}

const DTypeInfo* ggml_dtype(uint32_t id) noexcept {
  for (const GgmlId& row : kGgmlIds) {
    if (row.id == id) return &info(row.type);
  }
  return nullptr;
}

}  // namespace packhorse
