#include "app/server/api/chat_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "app/server/api/chat_messages.h"
#include "app/server/api/errors.h"
#include "app/server/api/prompt_tokens.h"

namespace packhorse::server {
namespace {

std::string_view without_blanks_behind(std::string_view text) {
  return text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
}

/// Whether the prompt's last word is one of these markers.
bool ends_with_any(std::string_view prompt, const std::vector<std::string_view>& markers) {
  prompt = without_blanks_behind(prompt);
  return std::ranges::any_of(markers,
                             [&](std::string_view marker) { return prompt.ends_with(without_blanks_behind(marker)); });
}

/// A field of the chat is what a message of the template is about.
[[noreturn]] void refuse_chat(const Error& error, std::string_view field) {
  const std::string_view message = error.what();
  const std::string_view word = message.substr(0, message.find_first_of(": ["));
  const bool is_field = word == "tools" || word == "chat_template_kwargs" || word == "continue_final_message";
  throw HttpError(400, std::string(message), std::string(is_field ? word : field));
}

std::string tools_json(const ServerContext& context, const ChatRequest& chat) {
  const bool are_hidden = chat.tools.mode == ToolMode::none && context.options.exclude_tools_when_tool_choice_none;
  return are_hidden || chat.tools.definitions.is_null() ? "" : chat.tools.definitions.dump();
}

Prompt prompt_of(const ServerContext& context, const ChatRequest& chat, std::string_view text) {
  Prompt prompt = tokenized_prompt(context, text, chat.prompt.add_special_tokens, chat.truncation, chat.words.prompt);
  prompt.cache_salt = chat.prompt.cache_salt;
  prompt.priority = chat.prompt.priority;
  return prompt;
}

std::string text_of(const Json& message) {
  const auto content = message.find("content");
  return content == message.end() || content->is_null() ? "" : text_of_content(*content, "messages");
}

/// One past the last place of any of these markers; 0 without.
size_t last_of(std::string_view text, const std::vector<std::string_view>& markers) {
  size_t last = 0;
  for (const std::string_view marker : markers) last = std::max(last, text.rfind(marker) + 1);
  return last;
}

/// What an answer to `prompt` begins with: reasoning, or content alone.
void find_reasoning(std::string_view prompt, const ChatRequest& chat, OutputParserOptions& parser) {
  if (parser.reasoning_parser.empty()) return;
  const std::vector<std::string_view>& starts = reasoning_starts(parser.reasoning_parser);
  const std::vector<std::string_view>& ends = reasoning_marks(parser).ends;
  if (chat.continue_final_message) {
    const std::string begun = text_of(chat.messages.back());
    parser.reasoning_open = last_of(begun, starts) > last_of(begun, ends);
    if (!parser.reasoning_open) parser.reasoning_parser.clear();
    return;
  }
  parser.reasoning_open = ends_with_any(prompt, starts);
  // Many templates close the reasoning by themselves where thinking is turned off.
  if (ends_with_any(prompt, ends)) parser.reasoning_parser.clear();
}

/// The answer has to match `wanted`, but it may think first where reasoning is told apart. JSON that was asked for is
/// no call, whatever it looks like.
void constrain(const ServerContext& context, OutputParserOptions& parser, StructuredOutputs& wanted) {
  parser.is_constrained = true;
  if (parser.tools == ToolMode::parsed && (wanted.json || wanted.json_object)) parser.tools = ToolMode::none;
  if (context.options.enable_in_reasoning) parser.reasoning_parser.clear();  // all of it is content
  if (parser.reasoning_parser.empty()) return;
  const ReasoningMarks marks = reasoning_marks(parser);
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
    const bool is_cut = news.finish_reason != "stop" || news.stop_string || news.stop_token_id;
    if (!news.finish_reason.empty()) append(news.delta, answer.parser->finish(is_cut));
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
      .tools_json = tools_json(context, chat)};
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
                                                .tools_json = tools_json(context, chat),
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
  find_reasoning(text, chat, parser);
  if (structured) constrain(context, parser, *structured);
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
