#pragma once
// Element type of the KV cache. Apart from kv_pool.h so that instruction-set files can include it.

#include <cstdint>

namespace packhorse {

inline constexpr int64_t kKvBlockTokens = 16;  // positions per block

enum class KvDType : uint8_t { f32, f16, bf16, fp8_e4m3 };
inline constexpr int64_t kv_dtype_bytes(KvDType type) {
  return type == KvDType::f32 ? 4 : type == KvDType::fp8_e4m3 ? 1 : 2;
}

}  // namespace packhorse
