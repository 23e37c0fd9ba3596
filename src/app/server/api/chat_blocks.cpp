#include "app/server/api/chat_blocks.h"

#include <utility>

namespace packhorse::server {

std::vector<BlockEvent> BlockStream::add(const OutputDelta& delta) {
  std::vector<BlockEvent> events;
  add_text(BlockKind::reasoning, delta.reasoning, events);
  add_text(BlockKind::text, delta.content, events);
  for (const ToolCallDelta& call : delta.tool_calls) add_call(call, events);
  return events;
}

std::vector<BlockEvent> BlockStream::finish() {
  std::vector<BlockEvent> events;
  close(events);
  return events;
}

void BlockStream::add_text(BlockKind kind, const std::string& text, std::vector<BlockEvent>& events) {
  if (text.empty()) return;
  if (!is_open_ || blocks_.back().kind != kind) open({.kind = kind}, events);
  append(text, events);
}

void BlockStream::add_call(const ToolCallDelta& call, std::vector<BlockEvent>& events) {
  const bool is_same = is_open_ && blocks_.back().kind == BlockKind::call && call.index == call_index_;
  if (!is_same) open({.kind = BlockKind::call, .id = call.id, .name = call.name}, events);
  call_index_ = call.index;
  if (!call.arguments.empty()) append(call.arguments, events);
}

void BlockStream::open(Block block, std::vector<BlockEvent>& events) {
  close(events);
  is_open_ = true;
  blocks_.push_back(std::move(block));
  events.push_back({BlockEvent::What::open, blocks_.size() - 1, {}});
}

void BlockStream::close(std::vector<BlockEvent>& events) {
  if (std::exchange(is_open_, false)) events.push_back({BlockEvent::What::close, blocks_.size() - 1, {}});
}

void BlockStream::append(const std::string& text, std::vector<BlockEvent>& events) {
  blocks_.back().text += text;
  events.push_back({BlockEvent::What::add, blocks_.size() - 1, text});
}

}  // namespace packhorse::server
