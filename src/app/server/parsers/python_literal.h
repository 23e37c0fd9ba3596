#pragma once
// Python's literals as JSON: what stands in calls that a model writes as Python.

#include <optional>
#include <string>
#include <string_view>

namespace packhorse::server {

struct PythonCall {
  std::string name;
  std::string arguments;  // a JSON object
};

/// "f(a=1, b='x')" with keyword arguments that are numbers, texts, True, False, None (or JSON's words for them), lists
/// and dicts. Nothing for anything else.
std::optional<PythonCall> parse_python_call(std::string_view text);

}  // namespace packhorse::server
