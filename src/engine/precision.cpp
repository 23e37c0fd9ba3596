#include "engine/precision.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"

namespace packhorse {
namespace {

struct Alias {
  std::string_view name, of;
};
constexpr Alias kAliases[] = {{"half", "float16"},
                              {"fp16", "float16"},
                              {"float", "float32"},
                              {"fp32", "float32"},
                              {"bf16", "bfloat16"},
                              {"fp8", "fp8_e4m3"},
                              {"fp8_inc", "fp8_e4m3"},  // the same numbers on another maker's devices
                              {"int8", "int8_per_token_head"},
                              {"int4", "int4_per_token_head"}};

struct KvName {
  std::string_view name;
  KvDType type;
};
constexpr KvName kKvNames[] = {{"float32", KvDType::f32},
                               {"bfloat16", KvDType::bf16},
                               {"float16", KvDType::f16},
                               {"fp8_e4m3", KvDType::fp8_e4m3},
                               {"fp8_e5m2", KvDType::fp8_e5m2},
                               {"fp8_per_token_head", KvDType::fp8_token},
                               {"int8_per_token_head", KvDType::int8_token},
                               {"int4_per_token_head", KvDType::int4_token}};
// Beginnings of vLLM's other names.
constexpr std::string_view kNotYet[] = {"nvfp4", "turboquant_", "octave_", "ultraquant_", "fp8_ds_mla"};

std::string canonical(std::string name) {
  if (name.starts_with("torch.")) name = name.substr(6);
  const auto* alias = std::ranges::find(kAliases, name, &Alias::name);
  return alias == std::end(kAliases) ? name : std::string(alias->of);
}

std::string canonical_dtype(const std::string& given) {
  std::string name = canonical(given);
  if (name == "auto" || name == "float32" || name == "float16" || name == "bfloat16") return name;
  fail(ErrorKind::usage, "dtype: '{}' is not supported (auto, float32, bfloat16, float16)", printable(given));
}

const KvName& find_kv(const std::string& given) {
  const std::string name = canonical(given);
  const auto* found = std::ranges::find(kKvNames, name, &KvName::name);
  if (found != std::end(kKvNames)) return *found;
  std::string all = "auto";
  for (const KvName& known : kKvNames) all.append(", ").append(known.name);
  const bool later = std::ranges::any_of(kNotYet, [&](std::string_view begin) { return name.starts_with(begin); });
  fail(ErrorKind::usage, "kv_cache_dtype: '{}' is not supported{} ({})", printable(given), later ? " yet" : "", all);
}

}  // namespace

Precision resolve_precision(const std::string& dtype, const std::string& kv_cache_dtype,
                            const std::string& checkpoint_dtype, bool has_kv_scales) {
  Precision out;
  out.dtype = canonical_dtype(dtype);
  // As vLLM: a checkpoint in float32 runs in 16 bit unless it is asked for otherwise.
  if (out.dtype == "auto") out.dtype = checkpoint_dtype == "bfloat16" ? "bfloat16" : "float16";
  out.fast = out.dtype != "float32";
  const KvName& kv = find_kv(kv_cache_dtype != "auto" ? kv_cache_dtype : has_kv_scales ? "fp8" : out.dtype);
  out.kv_cache_dtype = kv.name;
  out.kv = kv.type;
  return out;
}

}  // namespace packhorse
