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

OrderedJson parse_if_given(const std::string& text, const char* what) {
  if (text.empty()) return nullptr;
  return parse_chat_json(text, what);
}

}  // namespace

struct Engine::Impl {
  LoadedModel loaded;
  int64_t max_model_len;
  std::optional<Tokenizer> tokenizer;
  Json generation_config;
  std::string chat_template_source;
  std::optional<ChatTemplate> chat_template;
  std::vector<int32_t> eos;
  const Tokenizer* text;  // initialized by filling the four above
  KvPool kv;
  EngineCore core;

  explicit Impl(const EngineOptions& options)
      : loaded(options, resolve_model(options.model, options)),
        max_model_len(loaded.max_model_len),
        generation_config(load_generation_config(loaded.view, options.generation_config)),
        text(load_text()),
        kv(loaded.model->cache_specs(), count_kv_blocks(options, *loaded.model, max_model_len)),
        core(*loaded.model, kv, loaded.pool, text, limits()) {}

  const Tokenizer* load_text() {
    const EngineOptions& options = loaded.options;
    if (!options.skip_tokenizer_init) {
      tokenizer =
          load_tokenizer(loaded.view, options.tokenizer.empty() ? "" : resolve_model(options.tokenizer, options));
      tokenizer->require_ids_below(loaded.model->vocab_size());
    }
    chat_template_source = find_chat_template(loaded.view, options.chat_template);
    eos = eos_token_ids(loaded.view, generation_config, tokenizer ? &*tokenizer : nullptr, loaded.model->vocab_size());
    return tokenizer ? &*tokenizer : nullptr;
  }

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

  const Tokenizer& need_tokenizer() const {
    if (!tokenizer) fail(ErrorKind::request, "skip_tokenizer_init is set: texts cannot be used");
    return *tokenizer;
  }
  std::string special_text(std::optional<int32_t> id) const {
    return id ? std::string(tokenizer->token_text(*id)) : "";
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
  return impl_->need_tokenizer().encode(text, add_special_tokens);
}

std::string Engine::detokenize(const std::vector<int32_t>& token_ids, bool skip_special_tokens) const {
  return impl_->need_tokenizer().decode(token_ids, skip_special_tokens);
}

std::string Engine::render_chat(const ChatPrompt& chat) const {
  const Tokenizer& tokenizer = impl_->need_tokenizer();
  const ChatInputs inputs{.messages = parse_if_given(chat.messages_json, "messages"),
                          .tools = parse_if_given(chat.tools_json, "tools"),
                          .kwargs = parse_if_given(chat.template_kwargs_json, "chat_template_kwargs"),
                          .bos_token = impl_->special_text(tokenizer.bos_id()),
                          .eos_token = impl_->special_text(tokenizer.eos_id()),
                          .add_generation_prompt = chat.add_generation_prompt,
                          .continue_final_message = chat.continue_final_message};
  if (!chat.chat_template.empty()) return ChatTemplate(chat.chat_template).render(inputs);
  if (impl_->chat_template_source.empty())
    fail_model("{}: the model has no chat template; give one (chat_template)", impl_->loaded.view.path);
  if (!impl_->chat_template) impl_->chat_template.emplace(impl_->chat_template_source);
  return impl_->chat_template->render(inputs);
}

SamplingParams Engine::default_sampling_params() const {
  return packhorse::default_sampling_params(impl_->generation_config);
}
int64_t Engine::max_model_len() const { return impl_->max_model_len; }
int64_t Engine::vocab_size() const { return impl_->loaded.model->vocab_size(); }
std::optional<int32_t> Engine::eos_token_id() const {
  return impl_->eos.empty() ? std::nullopt : std::optional(impl_->eos.front());
}
std::optional<int32_t> Engine::bos_token_id() const {
  return impl_->tokenizer ? impl_->tokenizer->bos_id() : std::nullopt;
}
const std::string& Engine::chat_template() const { return impl_->chat_template_source; }
const EngineOptions& Engine::options() const { return impl_->loaded.options; }

std::string Engine::inspect_json(bool explain) const {
  const int64_t bytes = impl_->kv.n_blocks() * KvPool::bytes_per_block(impl_->loaded.model->cache_specs());
  return packhorse::inspect_json(impl_->loaded, explain, static_cast<uint64_t>(bytes));
}

TextScore Engine::score_text(const TextScoreOptions& options, Engine* against) {
  return packhorse::score_text(impl_->loaded, impl_->need_tokenizer(), options,
                               against ? &against->impl_->loaded : nullptr);
}

ReferenceScore Engine::score_reference(const ReferenceOptions& options) {
  return packhorse::score_reference(impl_->loaded, options);
}

std::string_view version() { return "0.1.0"; }

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
