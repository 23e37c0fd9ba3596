#pragma once
// JSON of a chat. Unlike Json, objects keep the order of their keys, since templates print them.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace packhorse {

using OrderedJson = nlohmann::ordered_json;

/// Parses one document in linear time; of equal keys the last one counts, as in Python. `field` names the document in
/// messages ("messages"). Throws Error{request}.
OrderedJson parse_chat_json(std::string_view text, std::string_view field, int max_depth = 64);

/// Adds a member whose key the object does not have yet; unlike operator[] without searching for it.
void append_member(OrderedJson& object, std::string key, OrderedJson value);

}  // namespace packhorse
