#include "app/server/api/response_answer.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "app/server/api/chat_logprobs.h"
#include "app/server/api/json_text.h"

namespace packhorse::server {
namespace {

constexpr std::string_view kIdPrefixes[] = {"rs", "msg", "fc"};  // by BlockKind

std::string usage_json(const Usage& usage) {
  return fmt::format(R"({{"input_tokens":{},"input_tokens_details":{{"cached_tokens":{}}},"output_tokens":{},)"
                     R"("output_tokens_details":{{"reasoning_tokens":{}}},"total_tokens":{}}})",
                     usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.reasoning_tokens,
                     usage.prompt_tokens + usage.completion_tokens);
}

void append_element(std::string& list, std::string_view elements) {
  if (!list.empty() && !elements.empty()) list += ',';
  list += elements;
}

Json call_of(const Block& block) {
  return Json{{"id", block.id},
              {"type", "function"},
              {"function", {{"name", block.name}, {"arguments", Json::parse(block.text.empty() ? "{}" : block.text)}}}};
}

}  // namespace

std::vector<BlockEvent> ResponseAnswer::add(ChatNews&& news) {
  take_logprobs(news);
  if (!news.finish_reason.empty()) finish_reason_ = std::move(news.finish_reason);
  return stream_.add(news.delta);
}

/// Tokens whose text is held back belong to what comes of it.
void ResponseAnswer::take_logprobs(const ChatNews& news) {
  news_logprobs_.clear();
  if (!news.logprobs) return;
  std::string elements;
  append_chat_logprobs(elements, news.token_ids, *news.logprobs, shape_.top_logprobs, false);
  append_element(pending_logprobs_, elements);
  if (!news.delta.reasoning.empty() || !news.delta.tool_calls.empty()) pending_logprobs_.clear();
  if (news.delta.content.empty()) return;
  news_logprobs_ = std::exchange(pending_logprobs_, "");
  append_element(all_logprobs_, news_logprobs_);
}

std::string ResponseAnswer::item_id(size_t index) const {
  return fmt::format("{}_{}_{}", kIdPrefixes[static_cast<size_t>(blocks()[index].kind)],
                     std::string_view(shape_.id).substr(shape_.id.find('_') + 1), index);
}

std::string ResponseAnswer::part(size_t index, bool is_empty) const {
  const Block& block = blocks()[index];
  const std::string text = is_empty ? R"("")" : json_string(block.text);
  if (block.kind == BlockKind::reasoning) return fmt::format(R"({{"type":"reasoning_text","text":{}}})", text);
  return fmt::format(R"({{"type":"output_text","annotations":[],"logprobs":{},"text":{}}})",
                     is_empty ? "[]" : all_logprobs(), text);
}

std::string ResponseAnswer::item(size_t index, bool is_open) const {
  const Block& block = blocks()[index];
  const bool is_last = index + 1 == blocks().size();  // what max_tokens cut off
  std::string out = fmt::format(R"({{"id":{},"status":"{}",)", safe_json_string(item_id(index)),
                                is_open   ? "in_progress"
                                : is_last ? status()
                                          : "completed");
  const std::string content = is_open ? "" : part(index, false);
  switch (block.kind) {
    case BlockKind::reasoning:
      return out +=
             fmt::format(R"("type":"reasoning","summary":[],"content":[{}],"encrypted_content":null}})", content);
    case BlockKind::text:
      return out += fmt::format(R"("type":"message","role":"assistant","content":[{}]}})", content);
    case BlockKind::call:
      return out += fmt::format(R"("type":"function_call","call_id":{},"name":{},"arguments":{}}})",
                                json_string(block.id), json_string(block.name), json_string(is_open ? "" : block.text));
  }
  return out;
}

std::string ResponseAnswer::object(std::string_view status, const Usage* usage, std::string_view error) const {
  std::string out = fmt::format(
      R"({{"id":{},"object":"response","created_at":{},"status":"{}","background":false,"error":{},)"
      R"("incomplete_details":{},"model":{},"output":[)",
      safe_json_string(shape_.id), shape_.created, status, error.empty() ? "null" : error,
      status == "incomplete" ? R"({"reason":"max_output_tokens"})" : "null", safe_json_string(shape_.model));
  for (size_t i = 0; usage && i < blocks().size(); ++i) {
    if (i > 0) out += ',';
    out += item(i, false);
  }
  fmt::format_to(std::back_inserter(out), R"(],{},"service_tier":null,"usage":{}}})", shape_.settings,
                 usage ? usage_json(*usage) : "null");
  return out;
}

void ResponseAnswer::keep(const std::string& json) const {
  if (shape_.keep) shape_.keep(json, message());
}

/// As InputReader makes it of the items, were a client to send them back.
Json ResponseAnswer::message() const {
  std::string reasoning, content;
  Json calls = Json::array();
  for (const Block& block : blocks()) {
    if (block.kind == BlockKind::reasoning) {
      reasoning += block.text;
    } else if (block.kind == BlockKind::text) {
      content += block.text;
    } else if (block.text.empty() || Json::accept(block.text)) {  // not one that was cut off
      calls.push_back(call_of(block));
    }
  }
  Json out{{"role", "assistant"}};
  if (!reasoning.empty()) out["reasoning"] = std::move(reasoning);
  if (!calls.empty()) out["tool_calls"] = std::move(calls);
  out["content"] = std::move(content);
  return out;
}

}  // namespace packhorse::server
