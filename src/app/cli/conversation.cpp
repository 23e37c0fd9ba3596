#include "app/cli/conversation.h"

#include <fmt/format.h>
#include <unistd.h>

#include <iterator>

#include "app/cli/terminal.h"

namespace packhorse::cli {

Conversation::Conversation(Engine& engine, SamplingParams params, bool raw, const std::string& system)
    : engine_(engine), params_(std::move(params)), uses_template_(!raw && !engine.chat_template().empty()) {
  params_.output_kind = OutputKind::delta;
  if (system.empty()) return;
  if (!uses_template_) throw Error(ErrorKind::usage, "--system: the model has no chat template to put it in");
  messages_.push_back({{"role", "system"}, {"content", system}});
}

Prompt Conversation::prompt_for(const std::string& text) {
  if (!uses_template_) return {.text = text};
  messages_.push_back({{"role", "user"}, {"content", text}});
  const auto replace = nlohmann::json::error_handler_t::replace;  // invalid UTF-8 becomes U+FFFD
  return {.text = engine_.render_chat({.messages_json = messages_.dump(-1, ' ', false, replace)}),
          .add_special_tokens = false};
}

RequestOutput Conversation::ask(const std::string& text) {
  const size_t n_messages = messages_.size();
  std::string answer;
  try {
    RequestOutput output = stream(prompt_for(text), answer);
    if (uses_template_) messages_.push_back({{"role", "assistant"}, {"content", answer}});
    return output;
  } catch (...) {
    messages_.erase(messages_.begin() + static_cast<std::ptrdiff_t>(n_messages), messages_.end());
    throw;
  }
}

RequestOutput Conversation::stream(const Prompt& prompt, std::string& answer) {
  const bool to_terminal = is_terminal(STDOUT_FILENO);
  engine_.add(prompt, params_);
  RequestOutput last;
  std::vector<int32_t> token_ids;
  while (engine_.has_unfinished()) {
    for (RequestOutput& output : engine_.step()) {
      if (!output.outputs.empty()) {
        const CompletionOutput& piece = output.outputs.front();
        answer += piece.text;
        token_ids.insert(token_ids.end(), piece.token_ids.begin(), piece.token_ids.end());
        write_stdout(to_terminal ? without_controls(piece.text) : piece.text);
      }
      last = std::move(output);
    }
  }
  if (last.outputs.empty() || last.outputs.front().finish_reason == "error") {
    throw Error(ErrorKind::internal, "the model could not answer: its output is not finite");
  }
  if (!answer.ends_with('\n')) write_stdout("\n");
  last.outputs.front().token_ids = std::move(token_ids);
  return last;
}

std::string describe_speed(const RequestOutput& output) {
  const auto per_second = [](size_t n, double seconds) { return seconds > 0 ? static_cast<double>(n) / seconds : 0.0; };
  const RequestMetrics& m = output.metrics;
  const size_t n_prompt = output.prompt_token_ids.size(), n_generated = output.outputs.front().token_ids.size();
  const auto n_cached = static_cast<size_t>(output.num_cached_tokens);
  return fmt::format("{} prompt tokens{} at {:.1f}/s, {} generated at {:.1f}/s", n_prompt,
                     n_cached > 0 ? fmt::format(" ({} from the cache)", n_cached) : "",
                     per_second(n_prompt - n_cached, m.first_token - m.first_scheduled), n_generated,
                     per_second(n_generated > 0 ? n_generated - 1 : 0, m.last_token - m.first_token));
}

}  // namespace packhorse::cli
