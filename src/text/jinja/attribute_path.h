#pragma once
// The attribute= argument of filters: "name", "name.0.other", or an index; none means the item itself.

#include <vector>

#include "text/jinja/interpreter.h"

namespace packhorse::jinja {

class AttributePath {
 public:
  /// `attribute` may be null.
  AttributePath(Interpreter& in, const Value* attribute);
  AttributePath(Interpreter& in, std::string_view attribute);

  /// `fallback` replaces what is undefined on the way; may be null.
  Value of(Value item, const Value* fallback = nullptr) const;

 private:
  void split(std::string_view attribute);

  Interpreter& in_;
  std::vector<Value> parts_;
};

/// Lower case of a string; other values as they are.
Value ignore_case(Interpreter& in, const Value& value);

}  // namespace packhorse::jinja
