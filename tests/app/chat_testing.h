#pragma once
// What the tests of chats share.

namespace packhorse::server {

inline constexpr const char* kWeather =
    R"({"type": "function", "function": {"parameters": {"type": "object", "properties":
    {"city": {"type": "string"}}, "required": ["city"]}, "name": "weather", "description": "d", "strict": true}})";

}  // namespace packhorse::server
