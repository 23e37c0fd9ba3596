// The facade: puts model, text and core together.

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/system_memory.h"
#include "engine/core.h"
#include "engine/evaluate.h"
#include "engine/loaded_model.h"
#include "engine/model_text.h"
#include "engine/resolve.h"
#include "engine/text_side.h"
#include "kernels/cpu/cpu_features.h"

namespace packhorse {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

/// Bytes for the KV cache: VLLM_CPU_KVCACHE_SPACE GiB when set, else a quarter of the memory that is left.
uint64_t kv_budget() {
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
  const int64_t affordable = static_cast<int64_t>(kv_budget()) / block_bytes;
  const int64_t per_sequence = (max_model_len + kKvBlockTokens - 1) / kKvBlockTokens;
  if (affordable < per_sequence) {
    if (options.max_model_len > 0 || affordable < 1) {
      fail(ErrorKind::resource,
           "KV cache: max_model_len {} needs {} bytes, {} are available (VLLM_CPU_KVCACHE_SPACE or --max-model-len "
           "helps)",
           max_model_len, per_sequence * block_bytes, affordable * block_bytes);
    }
    max_model_len = affordable * kKvBlockTokens;
  }
  return std::min(affordable, per_sequence * options.max_num_seqs);
}

}  // namespace

struct Engine::Impl {
  LoadedModel loaded;
  int64_t max_model_len;
  Json generation_config;
  TextSide text;
  std::vector<int32_t> eos;
  KvPool kv;
  EngineCore core;

  explicit Impl(const EngineOptions& options)
      : loaded(options, resolve_model(options.model, options)),
        max_model_len(loaded.max_model_len),
        generation_config(load_generation_config(loaded.view, options.generation_config)),
        text(load_text()),
        eos(eos_token_ids(loaded.view, generation_config, tokenizer(), loaded.model->vocab_size())),
        kv(loaded.model->cache_specs(), count_kv_blocks(options, *loaded.model, max_model_len)),
        core(*loaded.model, kv, loaded.pool, tokenizer(), limits()) {}

  TextSide load_text() {
    TextSide side(loaded.view, loaded.options);
    if (side.tokenizer) {
      side.tokenizer->require_ids_below(loaded.model->vocab_size());
      const std::vector<std::string>& warnings = side.tokenizer->warnings();
      loaded.warnings.insert(loaded.warnings.end(), warnings.begin(), warnings.end());
    }
    return side;
  }
  /// Null without.
  const Tokenizer* tokenizer() const { return text.tokenizer ? &*text.tokenizer : nullptr; }

  EngineLimits limits() const {
    EngineLimits out;
    out.max_model_len = max_model_len;
    out.max_num_seqs = loaded.options.max_num_seqs;
    out.max_num_batched_tokens = loaded.options.max_num_batched_tokens;
    out.max_logprobs = loaded.options.max_logprobs;
    out.seed = loaded.options.seed;
    out.enable_prefix_caching = loaded.options.enable_prefix_caching;
    out.eos_token_ids = eos;
    return out;
  }
};

Engine::Engine(const EngineOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

uint64_t Engine::add(const Prompt& prompt, const SamplingParams& params) { return impl_->core.add(prompt, params); }
std::vector<RequestOutput> Engine::step() { return impl_->core.step(); }
void Engine::abort(uint64_t request_id) { impl_->core.abort(request_id); }
bool Engine::has_unfinished() const { return impl_->core.has_unfinished(); }
size_t Engine::num_unfinished() const { return impl_->core.num_unfinished(); }
void Engine::reset_prefix_cache() { impl_->core.reset_prefix_cache(); }

std::vector<int32_t> Engine::tokenize(std::string_view text, bool add_special_tokens) const {
  return impl_->text.need_tokenizer().encode(text, add_special_tokens);
}

std::string Engine::detokenize(const std::vector<int32_t>& token_ids, bool skip_special_tokens) const {
  return impl_->text.need_tokenizer().decode(token_ids, skip_special_tokens);
}

std::string Engine::render_chat(const ChatPrompt& chat) const { return impl_->text.render_chat(chat); }

SamplingParams Engine::default_sampling_params() const {
  return packhorse::default_sampling_params(impl_->generation_config);
}
int64_t Engine::max_model_len() const { return impl_->max_model_len; }
int64_t Engine::vocab_size() const { return impl_->loaded.model->vocab_size(); }
std::optional<int32_t> Engine::eos_token_id() const {
  return impl_->eos.empty() ? std::nullopt : std::optional(impl_->eos.front());
}
std::optional<int32_t> Engine::bos_token_id() const {
  return impl_->text.tokenizer ? impl_->text.tokenizer->bos_id() : std::nullopt;
}
const std::vector<std::string>& Engine::warnings() const { return impl_->loaded.warnings; }
const std::string& Engine::chat_template() const { return impl_->text.chat_template; }
const EngineOptions& Engine::options() const { return impl_->loaded.options; }

std::string Engine::inspect_json(bool explain) const {
  const int64_t bytes = impl_->kv.n_blocks() * KvPool::bytes_per_block(impl_->loaded.model->cache_specs());
  return packhorse::inspect_json(impl_->loaded, explain, static_cast<uint64_t>(bytes));
}

TextScore Engine::score_text(const TextScoreOptions& options, Engine* against) {
  return packhorse::score_text(impl_->loaded, impl_->text.need_tokenizer(), options,
                               against ? &against->impl_->loaded : nullptr);
}

ReferenceScore Engine::score_reference(const ReferenceOptions& options) {
  return packhorse::score_reference(impl_->loaded, options);
}

std::string_view version() { return PACKHORSE_VERSION; }

std::string version_text() {
  std::string sets;
  for (const KernelSet* set : kernel_sets()) {
    if ((set->needs & ~cpu::features()) == 0) sets += (sets.empty() ? "" : ", ") + std::string(set->name);
  }
  return fmt::format(
      "packhorse {}\ncompiler: {}\nkernel sets of this CPU: {}\nthreads: {}\nGPUs: not supported by this build\n",
      version(), __VERSION__, sets, available_cpus());
}

}  // namespace packhorse
