#pragma once
// Order of the members of JSON objects, which Json does not keep.

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace packhorse {

/// Names of members in the order of the text, by the name of their object.
using MemberOrder = std::map<std::string, std::vector<std::string>, std::less<>>;

/// Of every object that stands directly in the one at `path` (keys from the root). parse_json accepted the text.
MemberOrder member_order(std::string_view text, std::span<const std::string_view> path);

}  // namespace packhorse
