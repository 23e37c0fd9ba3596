#pragma once
// The growing answer of one response, and its JSON.

#include <string>
#include <string_view>
#include <vector>

#include "app/server/api/chat_blocks.h"
#include "app/server/api/responses_format.h"

namespace packhorse::server {

class ResponseAnswer {
 public:
  explicit ResponseAnswer(ResponseShape shape) : shape_(std::move(shape)) {}

  /// Takes news in; what they do to the blocks.
  std::vector<BlockEvent> add(ChatNews&& news);
  std::vector<BlockEvent> finish() { return stream_.finish(); }

  const std::vector<Block>& blocks() const { return stream_.blocks(); }
  std::string item_id(size_t index) const;
  /// An output item; while it is open it has no content yet.
  std::string item(size_t index, bool is_open) const;
  /// The content of an item that is no call, as it is now, or empty.
  std::string part(size_t index, bool is_empty) const;
  /// Log-probabilities of what the last news added to the text, or of all of it, as a JSON array.
  std::string news_logprobs() const { return '[' + news_logprobs_ + ']'; }
  std::string all_logprobs() const { return '[' + all_logprobs_ + ']'; }

  /// The response object; `usage` is null while it goes on, `error` JSON or empty.
  std::string object(std::string_view status, const Usage* usage, std::string_view error = {}) const;
  /// How it ended: "completed" or "incomplete".
  std::string_view status() const { return finish_reason_ == "length" ? "incomplete" : "completed"; }
  /// Hands it to the store, if it is to be kept.
  void keep(const std::string& json) const;

 private:
  void take_logprobs(const ChatNews& news);
  Json message() const;

  const ResponseShape shape_;
  BlockStream stream_;
  std::string finish_reason_;
  std::string pending_logprobs_, news_logprobs_, all_logprobs_;  // elements of arrays
};

}  // namespace packhorse::server
