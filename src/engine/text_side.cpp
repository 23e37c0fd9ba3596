#include "engine/text_side.h"

#include <algorithm>

#include "base/error.h"
#include "engine/model_text.h"
#include "engine/resolve.h"

namespace packhorse {
namespace {

OrderedJson parse_if_given(const std::string& text, const char* what) {
  if (text.empty()) return nullptr;
  return parse_chat_json(text, what);
}

std::string text_of(const Tokenizer& tokenizer, std::optional<int32_t> id) {
  return id ? std::string(tokenizer.token_text(*id)) : "";
}

TemplateLimits template_limits(const EngineOptions& options) {
  TemplateLimits limits;
  const int64_t memory_share = limits.max_memory_bytes / limits.max_output_bytes;
  limits.max_steps = options.template_steps;
  limits.max_output_bytes = options.template_output_mb << 20;
  limits.max_memory_bytes = std::max(limits.max_memory_bytes, memory_share * limits.max_output_bytes);
  return limits;
}

/// A folder needs to hold no weights.
CheckpointView open_text(const std::string& path) {
  if (path.ends_with(".gguf")) return open_checkpoint(path);
  CheckpointView view;
  view.path = path;
  return view;
}

}  // namespace

TextSide::TextSide(const CheckpointView& view, const EngineOptions& options)
    : path(view.path), limits_(template_limits(options)) {
  if (!options.skip_tokenizer_init) {
    tokenizer = load_tokenizer(view, options.tokenizer.empty() ? "" : resolve_tokenizer(options.tokenizer, options));
  }
  chat_template = find_chat_template(view, options.chat_template);
  if (chat_template.empty()) return;
  try {
    parsed_.emplace(chat_template, limits_);
  } catch (const Error&) {
    broken_ = std::current_exception();  // whoever does not chat has no use for it
  }
}

const Tokenizer& TextSide::need_tokenizer() const {
  if (!tokenizer) fail(ErrorKind::request, "skip_tokenizer_init is set: texts cannot be used");
  return *tokenizer;
}

std::string TextSide::render_chat(const ChatPrompt& chat) const {
  const Tokenizer& words = need_tokenizer();
  const ChatInputs inputs{.messages = parse_if_given(chat.messages_json, "messages"),
                          .tools = parse_if_given(chat.tools_json, "tools"),
                          .kwargs = parse_if_given(chat.template_kwargs_json, "chat_template_kwargs"),
                          .bos_token = text_of(words, words.bos_id()),
                          .eos_token = text_of(words, words.eos_id()),
                          .add_generation_prompt = chat.add_generation_prompt,
                          .continue_final_message = chat.continue_final_message};
  if (!chat.chat_template.empty()) return ChatTemplate(chat.chat_template, limits_).render(inputs);
  if (chat_template.empty()) fail_model("{}: the model has no chat template; give one (chat_template)", path);
  if (broken_) std::rethrow_exception(broken_);
  return parsed_->render(inputs);
}

struct ModelText::Impl {
  TextSide side;
  explicit Impl(const EngineOptions& options) : side(open_text(resolve_text(options.model, options)), options) {
    side.need_tokenizer();
  }
};

ModelText::ModelText(const EngineOptions& options) : impl_(std::make_unique<Impl>(options)) {}
ModelText::~ModelText() = default;
ModelText::ModelText(ModelText&&) noexcept = default;
ModelText& ModelText::operator=(ModelText&&) noexcept = default;

std::vector<int32_t> ModelText::tokenize(std::string_view text, bool add_special_tokens) const {
  return impl_->side.tokenizer->encode(text, add_special_tokens);
}
std::string ModelText::detokenize(const std::vector<int32_t>& token_ids, bool skip_special_tokens) const {
  return impl_->side.tokenizer->decode(token_ids, skip_special_tokens);
}
std::string ModelText::render_chat(const ChatPrompt& chat) const { return impl_->side.render_chat(chat); }
int64_t ModelText::vocab_size() const { return impl_->side.tokenizer->vocab_size(); }
std::optional<int32_t> ModelText::eos_token_id() const { return impl_->side.tokenizer->eos_id(); }
std::optional<int32_t> ModelText::bos_token_id() const { return impl_->side.tokenizer->bos_id(); }
const std::string& ModelText::chat_template() const { return impl_->side.chat_template; }

}  // namespace packhorse
