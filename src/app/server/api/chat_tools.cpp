#include "app/server/api/chat_tools.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/server/api/errors.h"

namespace packhorse::server {
namespace {

constexpr size_t kMaxTools = 1024;
constexpr size_t kMaxNameBytes = 256;

const Json& function_of(const Json& tool) { return tool.at("function"); }
const std::string& name_of(const Json& tool) { return function_of(tool).at("name").get_ref<const std::string&>(); }

const Json* find_tool(const ChatTools& tools, const std::string& name) {
  const auto tool = std::find_if(tools.definitions.begin(), tools.definitions.end(),
                                 [&](const Json& t) { return name_of(t) == name; });
  return tool == tools.definitions.end() ? nullptr : &*tool;
}

/// Schema of a tool's arguments: an object, whatever else it says. A tool without one takes none.
Json parameters_of(const Json& tool) {
  const auto given = function_of(tool).find("parameters");
  if (given == function_of(tool).end()) return Json{{"type", "object"}, {"properties", Json::object()}};
  Json schema = *given;
  const bool says_what = std::any_of(schema.items().begin(), schema.items().end(), [](const auto& member) {
    return member.key() == "type" || member.key() == "anyOf" || member.key() == "oneOf" || member.key() == "allOf" ||
           member.key() == "$ref";
  });
  if (!says_what) schema["type"] = "object";
  return schema;
}

/// References inside of a schema start at its root, which is at `place` once it is part of another one.
void move_references(Json& schema, const std::string& place) {
  if (schema.is_object()) {
    for (const auto& [name, value] : schema.items()) {
      if (name == "$ref" && value.is_string() && value.get_ref<const std::string&>().starts_with('#')) {
        value = place + value.get_ref<const std::string&>().substr(1);
      } else {
        move_references(value, place);
      }
    }
  } else if (schema.is_array()) {
    for (Json& element : schema) move_references(element, place);
  }
}

Json call_schema(const Json& tool, size_t index) {
  Json parameters = parameters_of(tool);
  move_references(parameters, fmt::format("#/items/anyOf/{}/properties/parameters", index));
  return Json{
      {"type", "object"},
      {"properties",
       {{"name", {{"type", "string"}, {"enum", Json::array({name_of(tool)})}}}, {"parameters", std::move(parameters)}}},
      {"required", Json::array({"name", "parameters"})},
      {"additionalProperties", false}};
}

Json required_schema(const ChatTools& tools) {
  Json calls = Json::array();
  for (const Json& tool : tools.definitions) calls.push_back(call_schema(tool, calls.size()));
  Json schema{{"type", "array"}, {"minItems", 1}};
  if (!tools.is_parallel) schema["maxItems"] = 1;
  schema["items"] = Json{{"anyOf", std::move(calls)}};
  return schema;
}

void read_choice(const Fields& body, ChatTools& tools) {
  const Json* choice = body.find("tool_choice");
  if (!choice) return;
  const std::string where = body.path("tool_choice");
  if (choice->is_object()) {
    const Fields fields(*choice, where + ".");
    const Json* function = fields.object("function");
    if (fields.text("type").value_or("function") != "function" || !function) {
      body.fail("tool_choice", R"(must be "none", "auto", "required" or {"type": "function", "function": {"name"}})");
    }
    const auto name = Fields(*function, where + ".function.").text("name");
    if (!name) body.fail("tool_choice", "function.name is missing");
    return choose_tool(tools, *name, where);
  }
  const std::string mode = *body.text("tool_choice");
  if (mode == "none") {
    tools.mode = ToolMode::none;
  } else if (mode != "auto" && mode != "required") {
    body.fail("tool_choice",
              fmt::format("must be 'none', 'auto', 'required' or a function (got '{}')", printable(mode, 40)));
  } else if (tools.definitions.is_null()) {
    body.fail("tool_choice", "needs tools");
  } else {
    tools.mode = mode == "auto" ? ToolMode::parsed : ToolMode::required;
  }
}

}  // namespace

Json tool_definition(const Fields& function, const Json& members) {
  const auto name = function.text("name");
  if (!name || name->empty() || name->size() > kMaxNameBytes) {
    function.fail("name", fmt::format("must be a text of 1 to {} bytes", kMaxNameBytes));
  }
  Json out{{"name", *name}};
  if (auto description = function.text("description")) out["description"] = *std::move(description);
  if (const Json* parameters = function.object("parameters")) out["parameters"] = *parameters;
  for (const auto& [key, value] : members.items()) {
    if (key != "type" && key != "strict" && !value.is_null() && !out.contains(key)) out[key] = value;
  }
  return Json{{"type", "function"}, {"function", std::move(out)}};
}

void add_tool(ChatTools& tools, Json definition, const std::string& where) {
  if (tools.definitions.is_null()) tools.definitions = Json::array();
  if (tools.definitions.size() == kMaxTools) {
    throw HttpError(400, fmt::format("{}: more than {} tools", where, kMaxTools), where);
  }
  const std::string& name = name_of(definition);
  if (find_tool(tools, name)) {
    throw HttpError(400, fmt::format("{}: two tools are named '{}'", where, printable(name)), where);
  }
  tools.definitions.push_back(std::move(definition));
}

void choose_tool(ChatTools& tools, const std::string& name, const std::string& where) {
  if (!find_tool(tools, name)) {
    throw HttpError(400, fmt::format("{}: no tool is named '{}'", where, printable(name)), where);
  }
  tools.mode = ToolMode::named;
  tools.name = name;
}

ChatTools read_tool_list(const Fields& body,
                         const std::function<void(ChatTools&, const Fields&, const Json&, const std::string&)>& add) {
  ChatTools tools;
  body.for_each_object("tools", [&](const Fields& fields, const Json& tool, const std::string& where) {
    add(tools, fields, tool, where);
  });
  if (!tools.definitions.is_null()) tools.mode = ToolMode::parsed;
  return tools;
}

ChatTools read_tools(const Fields& body) {
  const auto add = [](ChatTools& tools, const Fields& fields, const Json&, const std::string& where) {
    if (fields.text("type").value_or("function") != "function") fields.fail("type", "must be 'function'");
    const Json* function = fields.object("function");
    if (!function) fields.fail("function", "is missing");
    add_tool(tools, tool_definition(Fields(*function, where + ".function."), *function), where);
  };
  ChatTools tools = read_tool_list(body, add);
  tools.is_parallel = body.flag("parallel_tool_calls").value_or(true);
  read_choice(body, tools);
  return tools;
}

StructuredOutputs tool_constraint(const ChatTools& tools) {
  StructuredOutputs constraint;
  const Json schema =
      tools.mode == ToolMode::named ? parameters_of(*find_tool(tools, tools.name)) : required_schema(tools);
  constraint.json = schema.dump();
  constraint.disable_any_whitespace = true;  // small models would go on with it forever
  return constraint;
}

}  // namespace packhorse::server
