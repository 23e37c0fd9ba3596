#include "app/cli/conversation.h"

#include <fmt/format.h>
#include <unistd.h>

#include <vector>

#include "app/cli/terminal.h"

namespace packhorse::cli {
namespace {

[[noreturn]] void fail_not_finite() {
  throw Error(ErrorKind::internal, "the model could not answer: its output is not finite");
}

}  // namespace

Conversation::Conversation(Engine& engine, SamplingParams params, bool raw, const std::string& system)
    : engine_(engine), params_(std::move(params)), uses_template_(!raw && !engine.chat_template().empty()) {
  params_.output_kind = OutputKind::delta;
  if (!system.empty()) set_system(system);
}

void Conversation::set_system(const std::string& text) {
  if (!uses_template_) throw Error(ErrorKind::usage, "--system, /system: the model has no chat template to put it in");
  system_ = text;
}

Prompt Conversation::prompt_for(const std::string& question) const {
  if (!uses_template_) return {.text = question};
  nlohmann::json messages = nlohmann::json::array();
  if (!system_.empty()) messages.push_back({{"role", "system"}, {"content", system_}});
  messages.insert(messages.end(), said_.begin(), said_.end());
  messages.push_back({{"role", "user"}, {"content", question}});
  const auto replace = nlohmann::json::error_handler_t::replace;  // invalid UTF-8 becomes U+FFFD
  const std::string text = engine_.render_chat({.messages_json = messages.dump(-1, ' ', false, replace)});
  const std::vector<int32_t> tokens = engine_.tokenize(text, false);
  if (static_cast<int64_t>(tokens.size()) >= engine_.max_model_len()) {
    throw Error(
        ErrorKind::request,
        fmt::format("the chat no longer fits the context (got {} tokens with this message, limit {}): a shorter "
                    "message, /clear or a larger --max-model-len helps",
                    tokens.size(), engine_.max_model_len() - 1));
  }
  return {.text = text, .token_ids = std::vector<int64_t>(tokens.begin(), tokens.end())};
}

RequestOutput Conversation::ask(const std::string& text, const std::function<bool()>& wants_stop) {
  std::string answer;
  RequestOutput output = stream(prompt_for(text), wants_stop, answer);
  if (uses_template_ && !output.outputs.front().token_ids.empty()) {
    said_.push_back({{"role", "user"}, {"content", text}});
    said_.push_back({{"role", "assistant"}, {"content", answer}});
  }
  return output;
}

RequestOutput Conversation::ask_for_all(const std::string& text) {
  SamplingParams params = params_;
  params.output_kind = OutputKind::final_only;
  engine_.add(prompt_for(text), params);
  RequestOutput output;
  while (engine_.has_unfinished()) {
    for (RequestOutput& each : engine_.step()) output = std::move(each);
  }
  const bool to_terminal = is_terminal(STDOUT_FILENO);
  for (const CompletionOutput& answer : output.outputs) {
    if (answer.finish_reason == "error") fail_not_finite();
    const std::string shown = to_terminal ? without_controls(answer.text) : answer.text;
    write_stdout(fmt::format("[{}]\n{}{}", answer.index + 1, shown, shown.ends_with('\n') ? "" : "\n"));
  }
  return output;
}

RequestOutput Conversation::stream(const Prompt& prompt, const std::function<bool()>& wants_stop, std::string& answer) {
  const bool to_terminal = is_terminal(STDOUT_FILENO);
  const uint64_t id = engine_.add(prompt, params_);
  RequestOutput last;
  std::vector<int32_t> prompt_token_ids, token_ids;
  while (engine_.has_unfinished()) {
    for (RequestOutput& output : engine_.step()) {
      if (!output.outputs.empty()) {
        const CompletionOutput& piece = output.outputs.front();
        answer += piece.text;
        token_ids.insert(token_ids.end(), piece.token_ids.begin(), piece.token_ids.end());
        write_stdout(to_terminal ? without_controls(piece.text) : piece.text);
      }
      if (!output.prompt_token_ids.empty()) prompt_token_ids = std::move(output.prompt_token_ids);
      last = std::move(output);
    }
    if (wants_stop && wants_stop()) engine_.abort(id);
  }
  if (last.outputs.empty() || last.outputs.front().finish_reason == "error") fail_not_finite();
  if (!answer.ends_with('\n')) write_stdout("\n");
  last.prompt_token_ids = std::move(prompt_token_ids);
  last.outputs.front().token_ids = std::move(token_ids);
  return last;
}

bool Conversation::fills_context(const RequestOutput& output) const {
  const size_t n_tokens = output.prompt_token_ids.size() + output.outputs.front().token_ids.size();
  return static_cast<int64_t>(n_tokens) >= engine_.max_model_len();
}

std::string describe_speed(const RequestOutput& output) {
  const auto per_second = [](size_t n, double seconds) { return seconds > 0 ? static_cast<double>(n) / seconds : 0.0; };
  const RequestMetrics& m = output.metrics;
  const size_t n_prompt = output.prompt_token_ids.size();
  size_t n_generated = 0, n_timed = 0;  // the first token of an answer is the prompt's work
  for (const CompletionOutput& answer : output.outputs) {
    n_generated += answer.token_ids.size();
    n_timed += answer.token_ids.empty() ? 0 : answer.token_ids.size() - 1;
  }
  const auto n_cached = static_cast<size_t>(output.num_cached_tokens);
  return fmt::format("{} prompt tokens{} at {:.1f}/s, {} generated at {:.1f}/s", n_prompt,
                     n_cached > 0 ? fmt::format(" ({} from the cache)", n_cached) : "",
                     per_second(n_prompt - n_cached, m.first_token - m.first_scheduled), n_generated,
                     per_second(n_timed, m.last_token - m.first_token));
}

}  // namespace packhorse::cli
