#include "engine/stop_strings.h"

namespace packhorse {

StopStrings::StopStrings(const std::vector<std::string>& strings) : nodes_(1) {
  for (size_t i = 0; i < strings.size(); ++i) {
    add(strings[i], static_cast<int32_t>(i));
    n_bytes_.push_back(strings[i].size());
  }
  link();
}

void StopStrings::add(const std::string& text, int32_t index) {
  size_t node = 0;
  for (const char byte : text) {
    const auto [it, is_new] = nodes_[node].next.try_emplace(byte, static_cast<int32_t>(nodes_.size()));
    const size_t depth = nodes_[node].depth + 1;
    node = static_cast<size_t>(it->second);
    if (is_new) nodes_.emplace_back().depth = depth;
  }
  if (nodes_[node].match < 0) nodes_[node].match = index;
}

void StopStrings::link() {
  std::vector<int32_t> queue;  // breadth first: fallbacks lead to shorter strings, which are complete by then
  for (const auto& [byte, child] : nodes_[0].next) queue.push_back(child);
  for (size_t i = 0; i < queue.size(); ++i) {
    const Node& node = nodes_[static_cast<size_t>(queue[i])];
    for (const auto& [byte, child] : node.next) {
      Node& target = nodes_[static_cast<size_t>(child)];
      target.fallback = advance(node.fallback, byte);
      const int32_t shorter = match(target.fallback);
      if (shorter >= 0 && (target.match < 0 || shorter < target.match)) target.match = shorter;
      queue.push_back(child);
    }
  }
}

int32_t StopStrings::advance(int32_t state, char byte) const {
  for (;;) {
    const Node& node = nodes_[static_cast<size_t>(state)];
    if (const auto it = node.next.find(byte); it != node.next.end()) return it->second;
    if (state == 0) return 0;
    state = node.fallback;
  }
}

}  // namespace packhorse
