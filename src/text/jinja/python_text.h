#pragma once
// Values as text: Python's str() and repr(), and json.dumps.

#include <string>
#include <string_view>

#include "text/jinja/interpreter.h"

namespace packhorse::jinja {

/// str(): what a template prints. Empty for undefined.
std::string to_text(Interpreter& in, const Value& value);
std::string to_repr(Interpreter& in, const Value& value);

/// The shortest text that reads back as the same number: 1.0, 1e-05, 1e+16, inf, nan.
std::string real_text(double value);

struct JsonStyle {
  std::string indent;  // of one level
  bool multi_line = false;
  bool ascii_only = false;
  bool sort_keys = false;
  std::string item_separator = ", ", key_separator = ": ";
};
/// json.dumps with ensure_ascii=false by default, as chat templates have it.
std::string to_json(Interpreter& in, const Value& value, const JsonStyle& style);

}  // namespace packhorse::jinja
