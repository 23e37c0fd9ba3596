// The facade: puts model, text and core together.

#include "base/error.h"
#include "engine/engine_impl.h"
#include "engine/evaluate.h"
#include "engine/model_text.h"
#include "kernels/cpu/cpu_features.h"

namespace packhorse {
Engine::Engine(const EngineOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

uint64_t Engine::add(const Prompt& prompt, const SamplingParams& params) { return impl_->core.add(prompt, params); }
uint64_t Engine::add(const Prompt& prompt, const PoolingParams& params) { return impl_->core.add(prompt, params); }
std::vector<RequestOutput> Engine::step() { return impl_->core.step(); }
void Engine::abort(uint64_t request_id) { impl_->core.abort(request_id); }
bool Engine::has_unfinished() const { return impl_->core.has_unfinished(); }
size_t Engine::num_unfinished() const { return impl_->core.num_unfinished(); }
EngineStats Engine::stats() const { return impl_->core.stats(); }
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
std::optional<int64_t> Engine::max_new_tokens() const { return packhorse::max_new_tokens(impl_->generation_config); }
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
