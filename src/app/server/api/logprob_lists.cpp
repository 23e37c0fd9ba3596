#include "app/server/api/logprob_lists.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <unordered_set>

#include "app/server/api/answer_text.h"
#include "app/server/api/json_text.h"

namespace packhorse::server {
namespace {

int64_t count_characters(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

void separate(std::string& list) {
  if (!list.empty()) list += ',';
}

}  // namespace

void LogprobLists::add_token(int32_t token, std::string_view text) {
  separate(tokens_);
  append_json_string(tokens_, shown_token(token, text, tokens_as_ids_));
  separate(offsets_);
  fmt::format_to(std::back_inserter(offsets_), "{}", offset_);
  offset_ += count_characters(text);
}

void LogprobLists::add_unknown(int32_t token, std::string_view text) {
  add_token(token, text);
  separate(logprobs_);
  logprobs_ += "null";
  separate(tops_);
  tops_ += "null";
}

void LogprobLists::add(int32_t token, const TokenLogprobs& entries) {
  const auto chosen = std::find_if(entries.begin(), entries.end(), [&](const auto& e) { return e.first == token; });
  if (chosen == entries.end()) return add_unknown(token, "");
  add_token(token, chosen->second.decoded_token);
  separate(logprobs_);
  append_logprob(logprobs_, chosen->second.logprob);

  separate(tops_);
  tops_ += '{';
  // Tokens may share a text, as parts of a character do: the first, which is the most likely, keeps the key.
  std::unordered_set<std::string> keys;
  for (const auto& [id, entry] : entries) {
    const auto [key, is_new] = keys.insert(shown_token(id, entry.decoded_token, tokens_as_ids_));
    if (!is_new) continue;
    if (keys.size() > 1) tops_ += ',';
    append_json_string(tops_, *key);
    tops_ += ':';
    append_logprob(tops_, entry.logprob);
  }
  tops_ += '}';
}

std::string LogprobLists::json() const {
  return fmt::format(R"({{"text_offset":[{}],"token_logprobs":[{}],"tokens":[{}],"top_logprobs":[{}]}})", offsets_,
                     logprobs_, tokens_, tops_);
}

std::string prompt_logprobs_json(const std::vector<std::optional<TokenLogprobs>>& positions) {
  std::string out = "[";
  for (const auto& entries : positions) {
    if (out.size() > 1) out += ',';
    if (!entries) {
      out += "null";
      continue;
    }
    out += '{';
    for (size_t i = 0; i < entries->size(); ++i) {
      const auto& [id, entry] = (*entries)[i];
      fmt::format_to(std::back_inserter(out), R"({}"{}":{{"logprob":)", i > 0 ? "," : "", id);
      append_logprob(out, entry.logprob);
      fmt::format_to(std::back_inserter(out), R"(,"rank":{},"decoded_token":)", entry.rank);
      append_json_string(out, entry.decoded_token);
      out += '}';
    }
    out += '}';
  }
  return out += ']';
}

}  // namespace packhorse::server
