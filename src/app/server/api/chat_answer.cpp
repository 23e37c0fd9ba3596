#include "app/server/api/chat_answer.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace packhorse::server {
namespace {

template <class T>
void append(std::vector<T>& list, std::vector<T>&& more) {
  list.insert(list.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

void add_call(std::vector<ToolCallDelta>& calls, ToolCallDelta&& news) {
  // Calls come one after the other: what is not the last one is new.
  if (calls.empty() || calls.back().index != news.index) {
    calls.push_back(std::move(news));
    return;
  }
  ToolCallDelta& call = calls.back();
  if (!news.id.empty()) call.id = std::move(news.id);
  if (!news.name.empty()) call.name = std::move(news.name);
  call.arguments += news.arguments;
}

}  // namespace

void ChatAnswer::add(ChatNews&& news) {
  said.reasoning += news.delta.reasoning;
  said.content += news.delta.content;
  for (ToolCallDelta& call : news.delta.tool_calls) add_call(said.tool_calls, std::move(call));
  append(token_ids, std::move(news.token_ids));
  if (news.logprobs) {
    if (!logprobs) logprobs.emplace();
    append(*logprobs, std::move(*news.logprobs));
  }
  if (news.finish_reason.empty()) return;
  finish_reason = std::move(news.finish_reason);
  stop_string = std::move(news.stop_string);
  stop_token_id = news.stop_token_id;
}

}  // namespace packhorse::server
