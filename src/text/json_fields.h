#pragma once
// Typed members of tokenizer.json's objects; a wrong type is an Error{model} that names the field.

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"

namespace packhorse {

/// Member that must be there and be no null.
inline const Json& require_member(const Json& object, std::string_view key, const std::string& where) {
  if (const Json* member = find_member(object, key)) return *member;
  fail_model("{}: missing '{}'", where, key);
}

inline const std::string& require_string(const Json& object, std::string_view key, const std::string& where) {
  const Json& member = require_member(object, key, where);
  if (!member.is_string()) fail_model("{}.{}: not a string (got {})", where, key, preview(member));
  return member.get_ref<const std::string&>();
}

inline const Json& require_array(const Json& object, std::string_view key, const std::string& where) {
  const Json& member = require_member(object, key, where);
  if (!member.is_array()) fail_model("{}.{}: not an array (got {})", where, key, preview(member));
  return member;
}

/// `otherwise` when absent or null.
inline bool bool_or(const Json& object, std::string_view key, bool otherwise, const std::string& where) {
  const Json* member = find_member(object, key);
  if (!member) return otherwise;
  if (!member->is_boolean()) fail_model("{}.{}: not true or false (got {})", where, key, preview(*member));
  return member->get<bool>();
}

/// "" when absent or null.
inline std::string string_or_empty(const Json& object, std::string_view key, const std::string& where) {
  return find_member(object, key) ? require_string(object, key, where) : std::string();
}

/// `where` of the i-th element of a list.
inline std::string element(const std::string& where, size_t i) { return where + "[" + std::to_string(i) + "]"; }

}  // namespace packhorse
