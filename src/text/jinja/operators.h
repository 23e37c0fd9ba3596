#pragma once
// Operators with the meaning Python gives them.

#include "text/jinja/ast.h"
#include "text/jinja/interpreter.h"

namespace packhorse::jinja {

Value apply_operator(Interpreter& in, Operator op, const Value& a, const Value& b);
Value negate(Interpreter& in, const Value& value);
/// The value itself as a number (a bool becomes an int); throws when it is none.
Value require_number(Interpreter& in, const Value& value);

bool compare(Interpreter& in, Comparison comparison, const Value& a, const Value& b);
bool equal(Interpreter& in, const Value& a, const Value& b);
/// a < b; throws when the two have no order.
bool less(Interpreter& in, const Value& a, const Value& b);
bool contains(Interpreter& in, const Value& container, const Value& item);
/// Throws when the value cannot be the key of a dict.
void require_key(Interpreter& in, const Value& key);

}  // namespace packhorse::jinja
