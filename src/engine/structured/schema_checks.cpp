#include "engine/structured/schema_checks.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "base/error.h"

namespace packhorse {
namespace {

constexpr std::array<std::string_view, 11> kUnknown = {"not",
                                                       "if",
                                                       "then",
                                                       "else",
                                                       "contains",
                                                       "minContains",
                                                       "maxContains",
                                                       "uniqueItems",
                                                       "dependencies",
                                                       "dependentSchemas",
                                                       "dependentRequired"};
// Where schemas stand inside of a schema: one, a list of them, or named ones.
constexpr std::array<std::string_view, 10> kHolders = {
    "items", "prefixItems", "additionalItems", "additionalProperties", "unevaluatedItems", "unevaluatedProperties",
    "anyOf", "oneOf",       "allOf",           "propertyNames"};
constexpr std::array<std::string_view, 4> kNamed = {"properties", "patternProperties", "$defs", "definitions"};

bool has(const auto& names, std::string_view name) { return std::ranges::find(names, name) != names.end(); }

/// A list of schemas, or one.
void check_all(const Json& value) {
  if (!value.is_array()) return check_schema(value);
  for (const Json& each : value) check_schema(each);
}

}  // namespace

void check_schema(const Json& schema) {
  if (!schema.is_object()) return;
  for (const auto& [key, value] : schema.items()) {
    if (has(kUnknown, key) && value != false)
      fail(ErrorKind::request, "structured_outputs: json: the keyword '{}' is not supported", key);
    if (key == "$ref" && value.is_string()) {
      const std::string& target = value.get_ref<const std::string&>();
      if (target != "#" && !target.starts_with("#/"))
        fail(ErrorKind::request, "structured_outputs: json: $ref '{}' leads out of the schema", printable(target));
    }
    if (has(kHolders, key)) check_all(value);
    if (!has(kNamed, key) || !value.is_object()) continue;
    for (const auto& [name, each] : value.items()) check_schema(each);
  }
}

}  // namespace packhorse
