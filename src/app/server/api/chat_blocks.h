#pragma once
// An answer as a row of blocks, one after the other: what responses and messages are made of.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "app/server/output_parser.h"

namespace packhorse::server {

enum class BlockKind : uint8_t { reasoning, text, call };

struct Block {
  BlockKind kind = BlockKind::text;
  std::string text{};        // all so far; of a call its arguments
  std::string id{}, name{};  // of a call
};

struct BlockEvent {
  enum class What : uint8_t { open, add, close };
  What what = What::add;
  size_t index = 0;  // of the block
  std::string text;  // what is added
};

class BlockStream {
 public:
  /// What the next news of the answer do to its blocks, in order.
  std::vector<BlockEvent> add(const OutputDelta& delta);
  /// The answer is over.
  std::vector<BlockEvent> finish();

  const std::vector<Block>& blocks() const { return blocks_; }

 private:
  void add_text(BlockKind kind, const std::string& text, std::vector<BlockEvent>& events);
  void add_call(const ToolCallDelta& call, std::vector<BlockEvent>& events);
  void open(Block block, std::vector<BlockEvent>& events);
  void close(std::vector<BlockEvent>& events);
  void append(const std::string& text, std::vector<BlockEvent>& events);

  std::vector<Block> blocks_;
  bool is_open_ = false;  // the last one
  int call_index_ = -1;   // of the last call
};

}  // namespace packhorse::server
