#include "load/events.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

namespace packhorse::load {
namespace {

/// What stands from the value of `quoted_key` on; of the first such member at any depth. Quotes inside of JSON strings
/// are escaped, so a text that holds the key is never taken for it.
std::optional<std::string_view> member(std::string_view json, std::string_view quoted_key) {
  for (size_t at = json.find(quoted_key); at != std::string_view::npos; at = json.find(quoted_key, at + 1)) {
    const size_t colon = json.find_first_not_of(' ', at + quoted_key.size());
    if (colon == std::string_view::npos || json[colon] != ':') continue;
    const size_t value = json.find_first_not_of(' ', colon + 1);
    if (value != std::string_view::npos) return json.substr(value);
  }
  return std::nullopt;
}

bool has_text(std::string_view json, std::string_view quoted_key) {
  const auto value = member(json, quoted_key);
  return value && value->size() > 1 && (*value)[0] == '"' && (*value)[1] != '"';
}

}  // namespace

int64_t take_events(std::string& body, const std::function<void(std::string_view)>& on_data) {
  constexpr std::string_view kData = "data:";
  int64_t n_comments = 0;
  size_t begin = 0;
  for (size_t end; (end = body.find('\n', begin)) != std::string::npos; begin = end + 1) {
    std::string_view line(body.data() + begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with(':')) ++n_comments;
    if (!line.starts_with(kData)) continue;
    line.remove_prefix(kData.size());
    if (line.starts_with(' ')) line.remove_prefix(1);
    on_data(line);
  }
  body.erase(0, begin);
  return n_comments;
}

Chunk read_chunk(std::string_view json) {
  Chunk chunk;
  chunk.has_text = has_text(json, R"("text")") || has_text(json, R"("content")") ||
                   has_text(json, R"("reasoning_content")") || has_text(json, R"("reasoning")");
  if (const auto error = member(json, R"("error")")) chunk.is_error = !error->starts_with("null");
  const auto usage = member(json, R"("usage")");
  if (!usage || !usage->starts_with('{')) return chunk;
  const auto document = nlohmann::json::parse(json, nullptr, false);
  const auto found = document.is_object() ? document.find("usage") : document.end();
  if (found == document.end() || !found->is_object()) throw std::runtime_error("damaged usage");
  chunk.prompt_tokens = found->value("prompt_tokens", int64_t{-1});
  chunk.completion_tokens = found->value("completion_tokens", int64_t{-1});
  return chunk;
}

}  // namespace packhorse::load
