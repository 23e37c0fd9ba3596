// /v1/completions.

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "app/server/api/completions_format.h"
#include "app/server/api/errors.h"
#include "app/server/api/fields.h"
#include "app/server/api/generation.h"
#include "app/server/api/handlers.h"
#include "app/server/api/prompt_tokens.h"

namespace packhorse::server {
namespace {

class CompletionRequest {
 public:
  CompletionRequest(ServerContext& context, const HttpRequest& request, const Fields& body)
      : context_(context), body_(body) {
    refuse_unsupported();
    shape_.model = requested_model(context, body);
    shape_.id = answer_id("cmpl-", request, body);
    shape_.created = std::time(nullptr);
    read_params();
    read_shape();
  }

  bool is_stream() const { return is_stream_; }

  /// Checks and tokenizes the prompts.
  std::vector<GenerationJob> jobs() {
    const std::vector<const Json*> prompts = read_prompt_list(context_, body_, "prompt");
    require_room(context_, static_cast<int64_t>(prompts.size()));
    const auto truncation = read_truncation(context_, body_);
    std::vector<GenerationJob> out;
    for (const Json* prompt : prompts) {
      out.push_back({read_prompt(*prompt, truncation), params_});
      read_prompt_options(body_, out.back().prompt);
    }
    return out;
  }

  CompletionFormat format() {
    const size_t n_prompts = echo_texts_.size();
    return {std::move(shape_), std::move(echo_texts_), n_prompts, context_.engine.engine()};
  }

 private:
  void refuse_unsupported() const {
    if (const auto suffix = body_.text("suffix"); suffix && !suffix->empty()) {
      body_.fail("suffix", "filling in between two texts is not supported");
    }
  }

  void read_params() {
    params_ = read_sampling(context_, body_);
    is_stream_ = body_.flag("stream").value_or(false);
    params_.output_kind = is_stream_ ? OutputKind::delta : OutputKind::final_only;
    shape_.n = params_.n;
    shape_.echo = body_.flag("echo").value_or(false);
    max_tokens_ = body_.whole_number("max_tokens");
    shape_.is_echo_only = shape_.echo && max_tokens_ == 0;
    if (max_tokens_ == 0 && !shape_.echo) body_.fail("max_tokens", "must be at least 1, or 0 with echo");
    if (shape_.is_echo_only) max_tokens_ = 1;
    params_.max_tokens = answer_limit(context_, max_tokens_ ? max_tokens_ : SamplingParams().max_tokens);
    shape_.logprobs = params_.logprobs = body_.whole_number("logprobs");
    shape_.prompt_logprobs = params_.prompt_logprobs.has_value();
    if (shape_.prompt_logprobs && is_stream_) body_.fail("prompt_logprobs", "is not available when stream is true");
    if (shape_.echo && shape_.logprobs && !params_.prompt_logprobs) params_.prompt_logprobs = shape_.logprobs;
  }

  void read_shape() {
    const ApiOptions& options = context_.options;
    shape_.return_token_ids = body_.flag("return_token_ids").value_or(false);
    shape_.tokens_as_ids = body_.flag("return_tokens_as_token_ids").value_or(options.return_tokens_as_token_ids);
    shape_.details = {.cached_tokens = options.enable_prompt_tokens_details};
    shape_.stream = read_stream_options(context_, body_, is_stream_);
  }

  Prompt read_prompt(const Json& given, std::optional<int64_t> truncation) {
    Prompt prompt;
    if (given.is_string()) {
      const bool add_special_tokens = body_.flag("add_special_tokens").value_or(true);
      const std::string& text = given.get_ref<const std::string&>();
      prompt = tokenized_prompt(context_, text, add_special_tokens, truncation, "prompt");
      keep_echo(*prompt.token_ids, truncation ? nullptr : &text);
    } else if (given.is_array()) {
      prompt.token_ids = read_token_ids(context_, body_, given, "prompt");
      truncate(*prompt.token_ids, truncation);
      keep_echo(*prompt.token_ids, nullptr);
    } else {
      body_.fail("prompt", "must hold texts or lists of token ids");
    }
    if (prompt.token_ids->empty()) body_.fail("prompt", "must not be empty");
    require_context(context_, static_cast<int64_t>(prompt.token_ids->size()), max_tokens_, "prompt", "max_tokens");
    return prompt;
  }

  /// `text` is null where there is none, or not of all tokens.
  void keep_echo(const std::vector<int64_t>& ids, const std::string* text) {
    std::string& echo = echo_texts_.emplace_back();
    if (!shape_.echo) return;
    echo = text ? *text : context_.engine.engine().detokenize({ids.begin(), ids.end()}, params_.skip_special_tokens);
  }

  ServerContext& context_;
  const Fields& body_;
  SamplingParams params_;
  CompletionShape shape_;
  std::optional<int64_t> max_tokens_;
  bool is_stream_ = false;
  std::vector<std::string> echo_texts_;
};

GenerationEvents stream_events(const ReplyPtr& reply, const std::shared_ptr<CompletionFormat>& format) {
  return {.on_start = [reply] { reply->start_stream(); },
          .on_output =
              [reply, format](size_t index, RequestOutput&& output) {
                if (std::string events = format->chunks(index, std::move(output)); !events.empty()) {
                  reply->write(std::move(events));
                }
              },
          .on_end =
              [reply, format](const Usage& usage) {
                reply->write(format->last_events(usage));
                reply->end();
              },
          .on_error =
              [reply](const std::exception_ptr& error) {
                reply->write(error_events(error));
                reply->end();
              }};
}

GenerationEvents answer_events(const ReplyPtr& reply, const std::shared_ptr<CompletionFormat>& format) {
  return {.on_start = nullptr,
          .on_output = [format](size_t index, RequestOutput&& output) { format->keep(index, std::move(output)); },
          .on_end = [reply, format](const Usage& usage) { reply_json(*reply, format->answer(usage)); },
          .on_error = [reply](const std::exception_ptr& error) { send_error(*reply, error); }};
}

void complete(ServerContext& context, const HttpRequestPtr& http, const ReplyPtr& reply) {
  require_room(context, 1);
  const Json json = parse_body(*http);
  const Fields body(json);
  CompletionRequest request(context, *http, body);
  std::vector<GenerationJob> jobs = request.jobs();
  const auto format = std::make_shared<CompletionFormat>(request.format());
  start_generation(context, http, reply, std::move(jobs),
                   request.is_stream() ? stream_events(reply, format) : answer_events(reply, format));
}

}  // namespace

void add_completion_routes(HttpServer& server, ServerContext& context) {
  add_post(server, context, "/v1/completions", complete);
}

}  // namespace packhorse::server
