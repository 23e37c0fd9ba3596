#pragma once
// Tools that a model may call, and what an answer has to look like when it has to call one.

#include <functional>
#include <string>

#include "app/server/api/fields.h"
#include "app/server/output_parser.h"

namespace packhorse::server {

struct ChatTools {
  Json definitions;  // for the template: array of {"type": "function", "function": {...}}; null without
  ToolMode mode = ToolMode::none;
  std::string name;         // of ToolMode::named
  bool is_parallel = true;  // an answer may hold several calls
};

/// One function as templates see it: name, description and parameters first. `function` is an object with these
/// members. Throws HttpError{400}.
Json tool_definition(const Fields& function, const Json& members);
/// Adds a definition; two of one name are refused.
void add_tool(ChatTools& tools, Json definition, const std::string& where);
/// Sets the mode to `named`. Throws HttpError{400} when no tool has that name.
void choose_tool(ChatTools& tools, const std::string& name, const std::string& where);

/// The list `tools`, each element of which `add` adds to the tools; with any, the mode is `parsed`.
ChatTools read_tool_list(const Fields& body,
                         const std::function<void(ChatTools&, const Fields&, const Json&, const std::string&)>& add);

/// `tools`, `tool_choice` and `parallel_tool_calls` of a chat completion. Throws HttpError{400}.
ChatTools read_tools(const Fields& body);

/// What the answer has to match: for `required` an array of {"name", "parameters"}, for `named` the parameters.
StructuredOutputs tool_constraint(const ChatTools& tools);

}  // namespace packhorse::server
