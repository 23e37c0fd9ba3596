#pragma once
// What the dtype options come to.

#include <string>

#include "codec/kv_dtype.h"

namespace packhorse {

struct Precision {
  std::string dtype;           // float32, bfloat16, float16
  std::string kv_cache_dtype;  // vLLM's name, without its aliases
  bool fast = true;            // activations may be quantized to int8
  KvDType kv = KvDType::f16;
};
/// Error{usage} for a name that is unknown or not supported. `checkpoint_dtype` is config.json's, or empty; a
/// checkpoint with KV scales has an FP8 cache unless another is asked for.
Precision resolve_precision(const std::string& dtype, const std::string& kv_cache_dtype,
                            const std::string& checkpoint_dtype, bool has_kv_scales);

}  // namespace packhorse
