// /v1/embeddings.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <ctime>
#include <iterator>
#include <utility>

#include "app/server/api/answer_text.h"
#include "app/server/api/base64.h"
#include "app/server/api/chat_request.h"
#include "app/server/api/chat_run.h"
#include "app/server/api/errors.h"
#include "app/server/api/fields.h"
#include "app/server/api/generation.h"
#include "app/server/api/handlers.h"
#include "app/server/api/json_text.h"
#include "app/server/api/prompt_tokens.h"

namespace packhorse::server {
namespace {

Prompt read_input(const ServerContext& context, const Fields& body, const Json& input) {
  const auto truncation = read_truncation(context, body);
  Prompt prompt;
  if (input.is_string()) {
    const std::string& text = input.get_ref<const std::string&>();
    if (text.empty()) body.fail("input", "a text must not be empty");
    prompt = tokenized_prompt(context, text, body.flag("add_special_tokens").value_or(true), truncation, "input");
  } else if (input.is_array()) {
    prompt.token_ids = read_token_ids(context, body, input, "input");
    if (prompt.token_ids->empty()) body.fail("input", "must not be empty");
    truncate(*prompt.token_ids, truncation);
  } else {
    body.fail("input", "must hold texts or lists of token ids");
  }
  read_prompt_options(body, prompt);
  return prompt;
}

/// A conversation is one input, as in vLLM: without the beginning of an answer unless that is asked for.
Prompt read_conversation(const ServerContext& context, const Fields& body) {
  if (body.find("input")) body.fail("input", "is given beside messages");
  ChatRequest chat = read_chat(context, body);
  chat.add_generation_prompt = body.flag("add_generation_prompt").value_or(false);
  return render_prompt(context, chat);
}

/// The prompts of `input`, or of `messages`.
std::vector<Prompt> read_prompts(ServerContext& context, const Fields& body) {
  std::vector<Prompt> prompts;
  const bool is_chat = body.find("messages") != nullptr;
  if (is_chat) {
    prompts.push_back(read_conversation(context, body));
  } else {
    const std::vector<const Json*> inputs = read_prompt_list(context, body, "input");
    require_room(context, static_cast<int64_t>(inputs.size()));
    for (const Json* input : inputs) prompts.push_back(read_input(context, body, *input));
  }
  const int64_t limit = context.engine.engine().max_model_len();
  for (const Prompt& prompt : prompts) {
    const auto n_tokens = static_cast<int64_t>(prompt.token_ids->size());
    if (n_tokens <= limit) continue;
    body.fail(is_chat ? "messages" : "input",
              fmt::format("this model's maximum context length is {} tokens (got {})", limit, n_tokens));
  }
  return prompts;
}

PoolingParams read_pooling(const ServerContext& context, const Fields& body) {
  PoolingParams params;
  params.pooling = context.options.pooling;
  if (const auto pooling = body.text("pooling")) {
    if (pooling != "last" && pooling != "mean") {
      body.fail("pooling", fmt::format("must be 'last' or 'mean' (got '{}')", printable(*pooling, 40)));
    }
    params.pooling = pooling == "mean" ? PoolingParams::Pooling::mean : PoolingParams::Pooling::last;
  }
  params.dimensions = body.whole_number("dimensions");
  const auto normalize = body.flag("normalize");
  params.normalize = body.flag("use_activation").value_or(normalize.value_or(true));  // vLLM's newer name goes first
  return params;
}

bool read_is_base64(const Fields& body) {
  const std::string format = body.text("encoding_format").value_or("float");
  if (format != "float" && format != "base64") {
    body.fail("encoding_format", fmt::format("must be 'float' or 'base64' (got '{}')", printable(format, 40)));
  }
  // What vLLM can do to the bytes of base64.
  const std::string dtype = body.text("embed_dtype").value_or("float32");
  if (dtype != "float32") body.fail("embed_dtype", fmt::format("must be 'float32' (got '{}')", printable(dtype, 40)));
  const std::string endianness = body.text("endianness").value_or("native");
  if (endianness != "native" && endianness != "little") {
    body.fail("endianness", fmt::format("must be 'native' or 'little' (got '{}')", printable(endianness, 40)));
  }
  return format == "base64";
}

/// The floats' bytes, little-endian.
std::string bytes_of(const std::vector<float>& values) {
  std::string bytes;
  bytes.reserve(values.size() * 4);
  for (const float value : values) {
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(bits >> shift & 0xff);
  }
  return bytes;
}

/// Vectors as they come, in any order; the answer when all are there.
class EmbeddingAnswer {
 public:
  EmbeddingAnswer(std::string id, std::string model, size_t n, bool is_base64, UsageDetails details)
      : id_(std::move(id)), model_(std::move(model)), is_base64_(is_base64), details_(details), vectors_(n) {}

  void take(size_t index, RequestOutput&& output) {
    if (!output.finished) return;
    if (!output.embedding) throw HttpError(500, "the model gave no embedding for this input");
    if (is_base64_) {
      vectors_[index] = fmt::format(R"("{}")", base64(bytes_of(*output.embedding)));
    } else {
      vectors_[index] = fmt::format("[{}]", fmt::join(*output.embedding, ","));
    }
  }

  std::string json(const Usage& usage) const {
    std::string out = fmt::format(R"({{"id":{},"object":"list","created":{},"model":{},"data":[)",
                                  safe_json_string(id_), std::time(nullptr), safe_json_string(model_));
    for (size_t i = 0; i < vectors_.size(); ++i) {
      fmt::format_to(std::back_inserter(out), R"({}{{"index":{},"object":"embedding","embedding":{}}})",
                     i > 0 ? "," : "", i, vectors_[i]);
    }
    out += R"(],"usage":)";
    append_usage(out, usage, details_);
    return out += '}';
  }

 private:
  const std::string id_, model_;
  const bool is_base64_;
  const UsageDetails details_;
  std::vector<std::string> vectors_;  // as JSON
};

void answer_embeddings(ServerContext& context, const HttpRequestPtr& request, const ReplyPtr& reply) {
  require_room(context, 1);
  const Json json = parse_body(*request);
  const Fields body(json);
  const std::string model = requested_model(context, body);
  const PoolingParams pooling = read_pooling(context, body);
  std::vector<Prompt> prompts = read_prompts(context, body);
  const auto answer =
      std::make_shared<EmbeddingAnswer>(answer_id("embd-", *request, body), model, prompts.size(), read_is_base64(body),
                                        UsageDetails{.cached_tokens = context.options.enable_prompt_tokens_details});
  std::vector<GenerationJob> jobs;
  jobs.reserve(prompts.size());
  for (Prompt& prompt : prompts) jobs.push_back({std::move(prompt), SamplingParams(), pooling});
  start_generation(
      context, request, reply, std::move(jobs),
      {.on_start = {},
       .on_output = [answer](size_t index, RequestOutput&& output) { answer->take(index, std::move(output)); },
       .on_end = [answer, reply](const Usage& usage) { reply_json(*reply, answer->json(usage)); },
       .on_error = [reply](const std::exception_ptr& error) { send_error(*reply, error); }});
}

}  // namespace

void add_embedding_routes(HttpServer& server, ServerContext& context) {
  add_post(server, context, "/v1/embeddings", answer_embeddings);
}

}  // namespace packhorse::server
