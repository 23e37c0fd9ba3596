#include "engine/engine_impl.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/system_memory.h"
#include "engine/model_text.h"
#include "engine/resolve.h"

namespace packhorse {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

/// Bytes for the KV cache: as asked for, VLLM_CPU_KVCACHE_SPACE GiB when set, else a quarter of the memory that is
/// left.
uint64_t kv_budget(const EngineOptions& options) {
  if (options.kv_cache_memory_bytes > 0) return static_cast<uint64_t>(options.kv_cache_memory_bytes);
  if (const char* text = std::getenv("VLLM_CPU_KVCACHE_SPACE"); text && *text) {
    char* end = nullptr;
    const double gib = std::strtod(text, &end);
    if (*end || !(gib >= 0) || gib > 1e6)
      fail(ErrorKind::usage, "VLLM_CPU_KVCACHE_SPACE: '{}' is not a number of GiB", printable(text));
    if (gib > 0) return static_cast<uint64_t>(gib * kGiB);
  }
  return available_memory() / 4;
}

/// Blocks to reserve. Lowers `max_model_len` when it was not asked for and does not fit, else Error{resource}.
int64_t count_kv_blocks(const EngineOptions& options, const Model& model, int64_t& max_model_len) {
  if (options.num_kv_blocks_override > 0) {
    max_model_len = std::min(max_model_len, options.num_kv_blocks_override * kKvBlockTokens);
    return options.num_kv_blocks_override;
  }
  const int64_t block_bytes = KvPool::bytes_per_block(model.cache_specs());
  const int64_t affordable = static_cast<int64_t>(kv_budget(options)) / block_bytes;
  const int64_t per_sequence = (max_model_len + kKvBlockTokens - 1) / kKvBlockTokens;
  if (affordable < per_sequence) {
    if (options.max_model_len > 0 || affordable < 1) {
      fail(ErrorKind::resource,
           "KV cache: max_model_len {} needs {} bytes, {} are available (--kv-cache-memory-bytes or "
           "--max-model-len helps)",
           max_model_len, per_sequence * block_bytes, affordable * block_bytes);
    }
    max_model_len = affordable * kKvBlockTokens;
  }
  return std::min(affordable, per_sequence * options.max_num_seqs);
}

/// Path of the model. What can be told to be wrong before it is fetched is.
std::string find_model(const EngineOptions& options) {
  parse_generation_overrides(options.override_generation_config);
  return resolve_model(options.model, options);
}

bool is_by_priority(const std::string& policy) {
  if (policy != "fcfs" && policy != "priority")
    fail(ErrorKind::usage, "scheduling_policy: unknown name '{}' (allowed: fcfs, priority)", printable(policy));
  return policy == "priority";
}

}  // namespace

Engine::Impl::Impl(const EngineOptions& options)
    : loaded(options, find_model(options)),
      max_model_len(loaded.max_model_len),
      generation_config(load_generation_config(loaded.view, options)),
      text(load_text()),
      eos(eos_token_ids(loaded.view, generation_config, tokenizer(), loaded.model->vocab_size())),
      kv(loaded.model->cache_specs(), count_kv_blocks(options, *loaded.model, max_model_len)),
      core(*loaded.model, kv, loaded.pool, tokenizer(), limits()) {}

TextSide Engine::Impl::load_text() {
  TextSide side(loaded.view, loaded.options);
  if (side.tokenizer) {
    side.tokenizer->require_ids_below(loaded.model->vocab_size());
    const std::vector<std::string>& warnings = side.tokenizer->warnings();
    loaded.warnings.insert(loaded.warnings.end(), warnings.begin(), warnings.end());
  }
  return side;
}

EngineLimits Engine::Impl::limits() const {
  EngineLimits out;
  out.max_model_len = max_model_len;
  out.max_num_seqs = loaded.options.max_num_seqs;
  out.max_num_batched_tokens = loaded.options.max_num_batched_tokens;
  out.max_logprobs = loaded.options.max_logprobs;
  out.seed = loaded.options.seed;
  out.by_priority = is_by_priority(loaded.options.scheduling_policy);
  out.enable_prefix_caching = loaded.options.enable_prefix_caching;
  out.eos_token_ids = eos;
  return out;
}

}  // namespace packhorse
