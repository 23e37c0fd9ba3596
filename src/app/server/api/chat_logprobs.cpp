#include "app/server/api/chat_logprobs.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <string_view>

#include "app/server/api/answer_text.h"
#include "app/server/api/json_text.h"

namespace packhorse::server {
namespace {

/// The members that the chosen token and its alternatives have in common.
void append_entry(std::string& out, int32_t id, const Logprob& entry, bool as_ids) {
  const std::string& text = entry.decoded_token;
  out += R"("token":)";
  append_json_string(out, shown_token(id, text, as_ids));
  out += R"(,"logprob":)";
  append_logprob(out, entry.logprob);
  fmt::format_to(std::back_inserter(out), R"(,"bytes":[{}])",
                 fmt::join(reinterpret_cast<const unsigned char*>(text.data()),
                           reinterpret_cast<const unsigned char*>(text.data() + text.size()), ","));
}

/// The chosen token is always among the entries.
const Logprob& entry_of(const TokenLogprobs& entries, int32_t id) {
  const auto found = std::find_if(entries.begin(), entries.end(), [&](const auto& entry) { return entry.first == id; });
  if (found == entries.end()) throw std::logic_error("log-probabilities without the chosen token");
  return found->second;
}

void append_top(std::string& out, const TokenLogprobs& entries, int64_t top, bool as_ids) {
  const size_t n = top < 0 ? entries.size() : std::min(entries.size(), static_cast<size_t>(top));
  for (size_t i = 0; i < n; ++i) {
    out += i == 0 ? "{" : ",{";
    append_entry(out, entries[i].first, entries[i].second, as_ids);
    out += '}';
  }
}

}  // namespace

void append_chat_logprobs(std::string& out, const std::vector<int32_t>& token_ids,
                          const std::vector<TokenLogprobs>& logprobs, int64_t top, bool as_ids) {
  const size_t n = std::min(token_ids.size(), logprobs.size());
  for (size_t i = 0; i < n; ++i) {
    out += i == 0 ? "{" : ",{";
    append_entry(out, token_ids[i], entry_of(logprobs[i], token_ids[i]), as_ids);
    out += R"(,"top_logprobs":[)";
    append_top(out, logprobs[i], top, as_ids);
    out += "]}";
  }
}

}  // namespace packhorse::server
