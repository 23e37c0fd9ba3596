#pragma once
// A chat on its way through the engine: prompt, generation, and what the answer means. The same for all chat APIs.

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/server/api/chat_request.h"
#include "app/server/api/generation.h"
#include "app/server/context.h"
#include "app/server/http/http.h"
#include "app/server/output_parser.h"

namespace packhorse::server {

/// News of one of the n answers.
struct ChatNews {
  size_t index = 0;
  OutputDelta delta;
  int64_t n_tokens = 0;            // that came since the last news
  std::vector<int32_t> token_ids;  // the same; empty where reasoning is withheld
  std::optional<std::vector<TokenLogprobs>> logprobs;
  std::string finish_reason;  // "" while it goes on, then "stop" or "length"
  std::optional<std::string> stop_string;
  std::optional<int64_t> stop_token_id;
};

/// How one API tells an answer: `start` on the caller's thread, the rest on the engine's, one call at a time.
class ChatWriter {
 public:
  virtual ~ChatWriter() = default;
  /// The engine has taken the chat; a stream begins here, an error before this has a status of its own.
  virtual void start() {}
  /// Before the first news; the output may be taken apart.
  virtual void prompt(RequestOutput& first) = 0;
  virtual void write(ChatNews&& news) = 0;
  virtual void end(const Usage& usage) = 0;
  /// Instead of `end`, at any time after `start`.
  virtual void fail(const std::exception_ptr& error) = 0;
};

/// The parsers for an answer to this chat, by the server's flags or by what the template suggests. Throws
/// HttpError{400} when tools are to be called by themselves and nothing knows how this model does that.
OutputParserOptions parser_options(const ServerContext& context, const ChatRequest& chat);

/// What the template makes of the chat. Throws HttpError{400}.
std::string render_text(const ServerContext& context, const ChatRequest& chat);
/// Prompt of the tokens of that text. Throws HttpError{400}.
Prompt render_prompt(const ServerContext& context, const ChatRequest& chat);

/// Answers the chat through `writer`; `is_stream` asks for news token by token. Throws HttpError and Error{request}
/// for what cannot be begun.
void run_chat(ServerContext& context, const HttpRequestPtr& request, const ReplyPtr& reply, ChatRequest chat,
              bool is_stream, std::shared_ptr<ChatWriter> writer);

}  // namespace packhorse::server
