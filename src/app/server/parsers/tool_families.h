#pragma once
// The notations of tool calls, by the names that vLLM gives them.

#include <memory>
#include <string_view>
#include <vector>

#include "app/server/parsers/call_reader.h"
#include "app/server/parsers/tagged_calls.h"

namespace packhorse::server {

struct ToolFamily {
  std::string_view name;
  std::vector<std::string_view> starts{};   // a call follows
  std::vector<std::string_view> openers{};  // may stand before a start
  std::vector<std::string_view> closers{};  // may stand after a call
  char bare = 0;                            // begins calls too, as the first character of the content
  bool special_tokens = true;               // markers may be special tokens
  bool is_constrained = false;              // the answer is held to calls: one that was begun is never content
  IdStyle ids = IdStyle::hex;
  std::unique_ptr<CallReader> (*reader)(std::string_view start, const ToolSchemas& schemas) = nullptr;
};

const std::vector<ToolFamily>& tool_families();
/// Throws Error{usage} for a name that is none.
const ToolFamily& tool_family(std::string_view name);
/// An answer that a schema constrains to a list of calls.
const ToolFamily& required_calls();

}  // namespace packhorse::server
