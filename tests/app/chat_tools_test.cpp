// Row 87 of the fault catalogue: what the tools of a chat may be.
#include <gmock/gmock.h>

#include "app/chat_testing.h"
#include "app/server/api/chat_request.h"
#include "app/server/api/chat_run.h"
#include "app/server_testing.h"

namespace packhorse::server {
namespace {

using testing::refusal;

ChatTools tools_of(const std::string& body_text) {
  const Json body = Json::parse(body_text);
  return read_tools(Fields(body));
}

HttpError refused_tools(const std::string& body) {
  return refusal([&] { tools_of(body); });
}

TEST(ChatTools, definitions_have_the_order_that_templates_print) {
  const ChatTools tools = tools_of(R"({"tools": [)" + std::string(kWeather) + "]}");
  EXPECT_EQ(tools.mode, ToolMode::parsed);
  EXPECT_EQ(tools.definitions.dump(),
            R"([{"type":"function","function":{"name":"weather","description":"d","parameters":{"type":"object",)"
            R"("properties":{"city":{"type":"string"}},"required":["city"]}}}])");
}

TEST(ChatTools, choices) {
  const std::string tools = R"({"tools": [)" + std::string(kWeather) + R"(], "tool_choice": )";
  EXPECT_EQ(tools_of(tools + R"("none"})").mode, ToolMode::none);
  EXPECT_EQ(tools_of(tools + R"("auto"})").mode, ToolMode::parsed);
  EXPECT_EQ(tools_of(tools + R"("required"})").mode, ToolMode::required);
  const ChatTools named = tools_of(tools + R"({"type": "function", "function": {"name": "weather"}}})");
  EXPECT_EQ(named.mode, ToolMode::named);
  EXPECT_EQ(named.name, "weather");
  EXPECT_EQ(Json::parse(*tool_constraint(named).json)["required"], Json::array({"city"}));
  EXPECT_EQ(tools_of("{}").mode, ToolMode::none);
  EXPECT_EQ(tools_of(R"({"tools": [{"function": {"name": "f"}}], "tool_choice": {"function": {"name": "f"}}})").mode,
            ToolMode::named)
      << "function is what type means where it is left out";
  EXPECT_EQ(tools_of(R"({"tool_choice": "none"})").mode, ToolMode::none);
}

TEST(ChatTools, a_tool_without_parameters_takes_none) {
  const std::string tool = R"({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": )";
  const Json none = Json::parse(R"({"type": "object", "properties": {}})");
  const ChatTools named = tools_of(tool + R"({"type": "function", "function": {"name": "f"}}})");
  EXPECT_EQ(Json::parse(*tool_constraint(named).json), none);
  const Json required = Json::parse(*tool_constraint(tools_of(tool + R"("required"})")).json);
  EXPECT_EQ(required["items"]["anyOf"][0]["properties"]["parameters"], none);
}

TEST(ChatTools, references_still_point_into_their_own_schema) {
  ChatTools tools = tools_of(R"({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"$defs":
      {"T": {"type": "object"}}, "type": "object", "properties": {"t": {"$ref": "#/$defs/T"}, "$ref": {"type":
      "string"}}}}}], "tool_choice": "required", "parallel_tool_calls": false})");
  const Json schema = Json::parse(*tool_constraint(tools).json);
  EXPECT_EQ(schema["minItems"], 1);
  EXPECT_EQ(schema["maxItems"], 1);
  const Json& parameters = schema["items"]["anyOf"][0]["properties"]["parameters"];
  const std::string reference = parameters["properties"]["t"]["$ref"];
  EXPECT_EQ(schema.at(Json::json_pointer(reference.substr(1))), Json::parse(R"({"type": "object"})"));
  EXPECT_EQ(parameters["properties"]["$ref"]["type"], "string");
}

TEST(ChatTools, fault_087_tools_that_are_none) {
  const std::string weather = kWeather;
  struct Case {
    std::string body;
    const char* param;
  };
  const Case cases[] = {
      {R"({"tools": {}})", "tools"},
      {R"({"tools": [1]})", "tools[0]"},
      {R"({"tools": [{"type": "web_search"}]})", "tools[0].type"},
      {R"({"tools": [{"type": "function"}]})", "tools[0].function"},
      {R"({"tools": [{"type": "function", "function": {"name": ""}}]})", "tools[0].function.name"},
      {R"({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]})",
       "tools[0].function.parameters"},
      {R"({"tools": [)" + weather + "," + weather + "]}", "tools[1]"},
      {R"({"tool_choice": "auto"})", "tool_choice"},
      {R"({"tool_choice": "required"})", "tool_choice"},
      {R"({"tools": [)" + weather + R"(], "tool_choice": "any"})", "tool_choice"},
      {R"({"tools": [)" + weather + R"(], "tool_choice": 1})", "tool_choice"},
      {R"({"tools": [)" + weather + R"(], "tool_choice": {"type": "function", "function": {"name": "x"}}})",
       "tool_choice"},
      {R"({"tools": [)" + weather + R"(], "tool_choice": {"type": "function"}})", "tool_choice"},
  };
  for (const Case& c : cases) {
    const HttpError error = refused_tools(c.body);
    EXPECT_EQ(error.status, 400) << c.body;
    EXPECT_EQ(error.param, c.param) << c.body;
  }
}

}  // namespace
}  // namespace packhorse::server
