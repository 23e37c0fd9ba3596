#include "app/server/api/chat_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "app/server/api/errors.h"
#include "app/server/api/prompt_tokens.h"

namespace packhorse::server {
namespace {

/// What reasoning begins with, in any family's notation.
constexpr std::array<std::string_view, 6> kReasoningMarkers = {"<think>",      "[THINK]",   "<|START_THINKING|>",
                                                               "<seed:think>", "<thought>", "\u25c1think\u25b7"};

std::string_view without_blanks_behind(std::string_view text) {
  return text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
}

bool ends_inside_reasoning(std::string_view prompt) {
  prompt = without_blanks_behind(prompt);
  return std::any_of(kReasoningMarkers.begin(), kReasoningMarkers.end(),
                     [&](std::string_view marker) { return prompt.ends_with(marker); });
}

/// Whether the template has closed the reasoning by itself, as many do where thinking is turned off.
bool ends_behind_reasoning(std::string_view prompt, const std::vector<std::string_view>& ends) {
  prompt = without_blanks_behind(prompt);
  return std::ranges::any_of(ends, [&](std::string_view end) { return prompt.ends_with(without_blanks_behind(end)); });
}

/// A field of the chat is what a message of the template is about.
[[noreturn]] void refuse_chat(const Error& error, std::string_view field) {
  const std::string_view message = error.what();
  const std::string_view word = message.substr(0, message.find_first_of(": ["));
  const bool is_field = word == "tools" || word == "chat_template_kwargs" || word == "continue_final_message";
  throw HttpError(400, std::string(message), std::string(is_field ? word : field));
}

std::string tools_json(const ChatRequest& chat) {
  return chat.tools.definitions.is_null() ? "" : chat.tools.definitions.dump();
}

Prompt prompt_of(const ServerContext& context, const ChatRequest& chat, std::string_view text) {
  Prompt prompt = tokenized_prompt(context, text, chat.prompt.add_special_tokens, chat.truncation, chat.words.prompt);
  prompt.cache_salt = chat.prompt.cache_salt;
  prompt.priority = chat.prompt.priority;
  return prompt;
}

/// What an answer to `prompt` begins with: reasoning, or content alone.
void find_reasoning(std::string_view prompt, OutputParserOptions& parser) {
  if (parser.reasoning_parser.empty()) return;
  parser.reasoning_open = ends_inside_reasoning(prompt);
  if (ends_behind_reasoning(prompt, reasoning_marks(parser).ends)) parser.reasoning_parser.clear();
}

/// Lets an answer that has to match something think first, where reasoning is told apart.
void let_think(const ServerContext& context, const ChatRequest& chat, OutputParserOptions& parser,
               StructuredOutputs& wanted) {
  if (parser.reasoning_parser.empty()) return;
  const bool has_begun = chat.continue_final_message && !parser.reasoning_open;
  if (context.options.enable_in_reasoning || has_begun) return parser.reasoning_parser.clear();  // all of it is content
  const ReasoningMarks marks = reasoning_marks(parser);
  parser.is_constrained = true;
  wanted.reasoning_starts.assign(marks.starts.begin(), marks.starts.end());
  wanted.reasoning_ends.assign(marks.ends.begin(), marks.ends.end());
}

/// Tokens of an answer that were reasoning: those up to the last news that brought some.
class ReasoningCounter {
 public:
  void add(const OutputDelta& delta, int64_t n_tokens) {
    if (is_over_) return;
    n_open_ += n_tokens;
    if (!delta.reasoning.empty()) n_reasoning_ += std::exchange(n_open_, 0);
    is_over_ = !delta.content.empty() || !delta.tool_calls.empty();
  }
  int64_t count() const { return n_reasoning_; }

 private:
  int64_t n_reasoning_ = 0, n_open_ = 0;
  bool is_over_ = false;
};

void append(OutputDelta& delta, OutputDelta&& more) {
  delta.reasoning += more.reasoning;
  delta.content += more.content;
  std::move(more.tool_calls.begin(), more.tool_calls.end(), std::back_inserter(delta.tool_calls));
}

class ChatRun {
 public:
  ChatRun(const ChatRequest& chat, const OutputParserOptions& parser, std::shared_ptr<ChatWriter> writer)
      : is_parallel_(chat.tools.is_parallel),
        shows_reasoning_(chat.include_reasoning || parser.reasoning_parser.empty()),
        answers_(static_cast<size_t>(chat.params.n)),
        writer_(std::move(writer)) {
    for (Answer& answer : answers_) answer.parser = make_output_parser(parser);
  }

  void on_start() { writer_->start(); }

  void on_output(RequestOutput&& output) {
    if (!std::exchange(has_begun_, true)) writer_->prompt(output);
    for (CompletionOutput& completion : output.outputs) on_answer(std::move(completion));
  }

  void on_end(Usage usage) {
    for (const Answer& answer : answers_) usage.reasoning_tokens += answer.reasoning.count();
    writer_->end(usage);
  }

  void on_error(const std::exception_ptr& error) { writer_->fail(error); }

 private:
  struct Answer {
    std::unique_ptr<OutputParser> parser;
    ReasoningCounter reasoning;
  };

  void on_answer(CompletionOutput&& completion) {
    const auto index = static_cast<size_t>(completion.index);
    Answer& answer = answers_.at(index);
    ChatNews news{.index = index,
                  .delta = answer.parser->add(completion.text),
                  .n_tokens = static_cast<int64_t>(completion.token_ids.size()),
                  .token_ids = std::move(completion.token_ids),
                  .logprobs = std::move(completion.logprobs),
                  .finish_reason = std::move(completion.finish_reason),
                  .stop_string = std::move(completion.stop_string),
                  .stop_token_id = completion.stop_token_id};
    if (!news.finish_reason.empty()) append(news.delta, answer.parser->finish());
    answer.reasoning.add(news.delta, news.n_tokens);
    if (!is_parallel_) std::erase_if(news.delta.tool_calls, [](const ToolCallDelta& call) { return call.index > 0; });
    if (!shows_reasoning_) withhold_reasoning(news);
    writer_->write(std::move(news));
  }

  /// Token by token, the text of reasoning would show as well.
  static void withhold_reasoning(ChatNews& news) {
    news.delta.reasoning.clear();
    news.token_ids.clear();
    news.logprobs.reset();
  }

  const bool is_parallel_, shows_reasoning_;
  std::vector<Answer> answers_;
  const std::shared_ptr<ChatWriter> writer_;
  bool has_begun_ = false;
};

}  // namespace

OutputParserOptions parser_options(const ServerContext& context, const ChatRequest& chat) {
  const ApiOptions& options = context.options;
  const std::string& source = template_of(context, chat);
  OutputParserOptions parser{
      .tool_parser = options.tool_call_parser.empty() ? tool_parser_of_template(source) : options.tool_call_parser,
      .reasoning_parser =
          options.reasoning_parser.empty() ? reasoning_parser_of_template(source) : options.reasoning_parser,
      .tools = chat.tools.mode,
      .tool_name = chat.tools.name,
      .tools_json = tools_json(chat)};
  for (std::string* name : {&parser.tool_parser, &parser.reasoning_parser}) {
    if (*name == "none") name->clear();
  }
  if (chat.tools.mode != ToolMode::parsed) return parser;
  if (!options.enable_auto_tool_choice) {
    throw HttpError(400, "tool_choice: 'auto' needs --enable-auto-tool-choice", "tool_choice");
  }
  if (parser.tool_parser.empty()) {
    throw HttpError(400,
                    fmt::format("tool_choice: 'auto' needs --tool-call-parser: the chat template does not show how "
                                "this model calls tools; {} work with any model",
                                chat.words.tool_choices),
                    "tool_choice");
  }
  return parser;
}

std::string render_text(const ServerContext& context, const ChatRequest& chat) {
  if (template_of(context, chat).empty()) {
    throw HttpError(400,
                    fmt::format("{}: the model has no chat template; the server can be given one by --chat-template",
                                chat.words.prompt),
                    std::string(chat.words.prompt));
  }
  try {
    return context.engine.engine().render_chat({.messages_json = chat.messages.dump(),
                                                .tools_json = tools_json(chat),
                                                .template_kwargs_json = chat.template_kwargs.dump(),
                                                .chat_template = chat.chat_template,
                                                .add_generation_prompt = chat.add_generation_prompt,
                                                .continue_final_message = chat.continue_final_message});
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::request && error.kind() != ErrorKind::model) throw;
    refuse_chat(error, chat.words.prompt);
  }
}

Prompt render_prompt(const ServerContext& context, const ChatRequest& chat) {
  return prompt_of(context, chat, render_text(context, chat));
}

void run_chat(ServerContext& context, const HttpRequestPtr& request, const ReplyPtr& reply, ChatRequest chat,
              bool is_stream, std::shared_ptr<ChatWriter> writer) {
  OutputParserOptions parser = parser_options(context, chat);
  const ToolMode mode = chat.tools.mode;
  auto& structured = chat.params.structured_outputs;
  if (mode == ToolMode::required || mode == ToolMode::named) structured = tool_constraint(chat.tools);
  const std::string text = render_text(context, chat);
  find_reasoning(text, parser);
  if (structured) let_think(context, chat, parser, *structured);
  Prompt prompt = prompt_of(context, chat, text);
  const auto n_prompt = static_cast<int64_t>(prompt.token_ids->size());
  require_context(context, n_prompt, chat.params.max_tokens, chat.words.prompt, chat.words.max_tokens);
  chat.params.max_tokens = answer_limit(context, chat.params.max_tokens);
  if (needs_special_tokens(parser)) chat.params.skip_special_tokens = false;
  // Reasoning tokens can be counted only while they come one by one.
  const bool is_counted = !parser.reasoning_parser.empty();
  chat.params.output_kind = is_stream || is_counted ? OutputKind::delta : OutputKind::final_only;
  const auto run = std::make_shared<ChatRun>(chat, parser, std::move(writer));
  std::vector<GenerationJob> jobs;
  jobs.push_back({std::move(prompt), std::move(chat.params)});
  start_generation(context, request, reply, std::move(jobs),
                   {.on_start = [run] { run->on_start(); },
                    .on_output = [run](size_t, RequestOutput&& output) { run->on_output(std::move(output)); },
                    .on_end = [run](const Usage& usage) { run->on_end(usage); },
                    .on_error = [run](const std::exception_ptr& error) { run->on_error(error); }});
}

}  // namespace packhorse::server
