#pragma once
// Members of JSON arguments as arguments of their own: --name.member VALUE.

#include <string>
#include <vector>

namespace packhorse::cli {

/// Replaces all --name.a.b VALUE (or --name.a.b=VALUE) by one --name '{"a":{"b":VALUE}}' at the first one's place. A
/// value that is no JSON is a text. Throws Error{usage} for a missing value and for members that exclude each other.
std::vector<std::string> fold_dotted_arguments(std::vector<std::string> arguments);

}  // namespace packhorse::cli
