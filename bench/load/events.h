#pragma once
// Server-sent events of OpenAI's streams, read without building a JSON document for each.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace packhorse::load {

/// Takes the complete lines off the front of `body` and hands on what follows "data:". Returns the number of comments.
int64_t take_events(std::string& body, const std::function<void(std::string_view)>& on_data);

/// What an event says about the answer.
struct Chunk {
  bool has_text = false, is_error = false;
  int64_t prompt_tokens = -1, completion_tokens = -1;  // of its usage object
};
/// Throws std::exception when the usage object is damaged.
Chunk read_chunk(std::string_view json);

}  // namespace packhorse::load
