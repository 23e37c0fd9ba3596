#pragma once
// Storage types of tensors in files: safetensors dtypes and ggml block types.

#include <cstdint>
#include <string_view>

namespace packhorse {

enum class DType : uint8_t {
  // safetensors (github.com/huggingface/safetensors, tensor.rs)
  boolean,
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  u64,
  i64,
  f16,
  bf16,
  f32,
  f64,
  f8_e4m3,
  f8_e5m2,
  f8_e8m0,
  f4,
  // ggml block types (ggml.h); all others of GGUF map to the plain types above
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq2_xxs,
  iq2_xs,
  iq3_xxs,
  iq1_s,
  iq4_nl,
  iq3_s,
  iq2_s,
  iq4_xs,
  iq1_m,
  tq1_0,
  tq2_0,
  mxfp4,
  nvfp4,
  q1_0,
  q2_0,
};

/// Name as the file's own documentation writes it, and its storage: `block_bytes` bytes hold `block_size` elements.
struct DTypeInfo {
  DType type;
  std::string_view name;
  uint32_t block_size;
  uint32_t block_bytes;
};

const DTypeInfo& info(DType type) noexcept;
/// By safetensors name ("BF16"); null when unknown.
const DTypeInfo* safetensors_dtype(std::string_view name) noexcept;
/// By ggml type id; null when unknown or removed.
const DTypeInfo* ggml_dtype(uint32_t id) noexcept;

inline bool is_ggml_block(DType type) noexcept { return type >= DType::q4_0; }
inline bool is_plain_float(DType type) noexcept {
  return type == DType::f32 || type == DType::f16 || type == DType::bf16;
}

}  // namespace packhorse
