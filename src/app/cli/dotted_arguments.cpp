#include "app/cli/dotted_arguments.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "packhorse/packhorse.h"

namespace packhorse::cli {
namespace {

using Json = nlohmann::ordered_json;

/// Position of the dot that ends the option's name; npos for other arguments.
size_t find_dot(std::string_view argument) {
  if (!argument.starts_with("--")) return argument.npos;
  const size_t at = argument.find_first_of(".=");
  return at != argument.npos && argument[at] == '.' ? at : argument.npos;
}

/// Appends the texts between commas.
void append_to(Json& place, std::string_view argument, std::string_view value) {
  if (place.is_null()) place = Json::array();
  if (!place.is_array()) throw Error(ErrorKind::usage, fmt::format("{}: not a list", printable(argument)));
  while (true) {
    const size_t comma = value.find(',');
    place.push_back(std::string(value.substr(0, comma)));
    if (comma == value.npos) return;
    value.remove_prefix(comma + 1);
  }
}

/// Sets object.a.b for the path "a.b", and appends to it for "a.b+".
void set_member(Json& object, std::string_view argument, std::string_view path, const std::string& value) {
  const bool is_list = path.ends_with('+');
  if (is_list) path.remove_suffix(1);
  Json* place = &object;
  while (true) {
    const size_t dot = path.find('.');
    const std::string name(path.substr(0, dot));
    const bool is_last = dot == path.npos;
    if (name.empty() || (is_last && !is_list && place->contains(name)) ||
        (!is_last && place->contains(name) && !place->at(name).is_object()))
      throw Error(ErrorKind::usage, fmt::format("{}: {}", printable(argument),
                                                name.empty() ? "a member without a name" : "set more than once"));
    place = &(*place)[name];
    if (is_last) break;
    if (place->is_null()) *place = Json::object();
    path.remove_prefix(dot + 1);
  }
  if (is_list) return append_to(*place, argument, value);
  const Json parsed = Json::parse(value, nullptr, false);
  *place = parsed.is_discarded() ? Json(value) : parsed;
}

}  // namespace

std::vector<std::string> fold_dotted_arguments(std::vector<std::string> arguments) {
  std::vector<std::string> folded;
  std::map<std::string, std::pair<size_t, Json>> objects;  // by option: where it stands in `folded`, and its members
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") {
      folded.insert(folded.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i), arguments.end());
      break;
    }
    const size_t dot = find_dot(argument);
    if (dot == argument.npos) {
      folded.push_back(argument);
      continue;
    }
    const size_t equals = argument.find('=');
    if (equals == argument.npos && i + 1 == arguments.size())
      throw Error(ErrorKind::usage, fmt::format("{}: needs a value", printable(argument)));
    const std::string value = equals == argument.npos ? arguments[++i] : argument.substr(equals + 1);
    const std::string name = argument.substr(0, dot);
    const auto [it, is_new] = objects.try_emplace(name, folded.size() + 1, Json::object());
    if (is_new) folded.insert(folded.end(), {name, ""});
    const std::string_view whole = std::string_view(argument).substr(0, equals);
    set_member(it->second.second, whole, whole.substr(dot + 1), value);
  }
  for (const auto& [name, object] : objects) folded[object.first] = object.second.dump();
  return folded;
}

}  // namespace packhorse::cli
