// Evaluation of expressions.
#include "text/jinja/interpreter.h"
#include "text/jinja/operators.h"

namespace packhorse::jinja {

Value Literal::evaluate(Interpreter&) const { return value; }

Value Name::evaluate(Interpreter& in) const { return in.lookup(id); }

Value Sequence::evaluate(Interpreter& in) const {
  std::vector<Value> values;
  values.reserve(items.size());
  for (const ExprPtr& item : items) values.push_back(in.evaluate(*item));
  return in.heap().list(std::move(values), form);
}

Value DictLiteral::evaluate(Interpreter& in) const {
  Dict* dict = in.heap().make<Dict>();
  for (const auto& [key_node, value_node] : items) {
    const Value key = in.evaluate(*key_node);
    in.at = key_node->at;
    require_key(in, key);
    in.heap().set(*dict, key, in.evaluate(*value_node));
  }
  return dict;
}

Value Attribute::evaluate(Interpreter& in) const {
  const Value value = in.evaluate(*object);
  in.at = at;
  return in.attribute(value, name);
}

Value Subscript::evaluate(Interpreter& in) const {
  const Value value = in.evaluate(*object);
  const Value index = in.evaluate(*key);
  in.at = at;
  return in.subscript(value, index);
}

Value Slice::evaluate(Interpreter& in) const {
  const auto bound = [&](const ExprPtr& node) { return node ? in.evaluate(*node) : Value(); };
  const Value value = in.evaluate(*object);
  const Value first = bound(start), last = bound(stop), stride = bound(step);
  in.at = at;
  return in.slice(value, first, last, stride);
}

Args Arguments::evaluate(Interpreter& in) const {
  Args args;
  args.positional.reserve(positional.size());
  for (const ExprPtr& node : positional) args.positional.push_back(in.evaluate(*node));
  for (const auto& [name, node] : named) args.named.emplace_back(name, in.evaluate(*node));
  if (rest) {
    const Value values = in.evaluate(*rest);
    const List* list = in.iterate(values);
    in.budget().scan_items(list->items.size());
    in.budget().step(static_cast<int64_t>(list->items.size()));
    args.positional.insert(args.positional.end(), list->items.begin(), list->items.end());
  }
  if (named_rest) {
    const Value values = in.evaluate(*named_rest);
    if (!values.dict()) in.fail("argument after ** must be a mapping, not {}", type_name(values));
    for (const auto& [name, value] : values.dict()->items()) {
      in.budget().step();
      if (!name.is_text()) in.fail("keywords must be strings");
      args.named.emplace_back(name.bytes(), value);
    }
  }
  return args;
}

Value CallExpr::evaluate(Interpreter& in) const { return evaluate_with(in, nullptr); }

Value CallExpr::evaluate_with(Interpreter& in, Macro* caller) const {
  const Value function = in.evaluate(*callee);
  Args args = arguments.evaluate(in);
  if (caller) args.named.emplace_back("caller", caller);
  in.at = at;
  return in.call(function, std::move(args));
}

Value FilterExpr::evaluate(Interpreter& in) const { return apply(in, in.evaluate(*object)); }

Value FilterExpr::apply(Interpreter& in, const Value& self) const {
  Args args = arguments.evaluate(in);
  in.at = at;
  if (!filter) in.fail("unknown filter '{}'", printable(name));
  return run_builtin(in, *filter, self, std::move(args));
}

Value TestExpr::evaluate(Interpreter& in) const {
  const Value self = in.evaluate(*object);
  Args args = arguments.evaluate(in);
  in.at = at;
  if (!test) in.fail("unknown test '{}'", printable(name));
  return in.truth(run_builtin(in, *test, self, std::move(args))) != negated;
}

Value Binary::evaluate(Interpreter& in) const {
  const Value a = in.evaluate(*left);
  const Value b = in.evaluate(*right);
  in.at = at;
  return apply_operator(in, op, a, b);
}

Value Compare::evaluate(Interpreter& in) const {
  Value left = in.evaluate(*first);
  for (const auto& [comparison, node] : rest) {
    Value right = in.evaluate(*node);
    in.at = at;
    if (!compare(in, comparison, left, right)) return false;
    left = std::move(right);
  }
  return true;
}

Value Logic::evaluate(Interpreter& in) const {
  Value value = in.evaluate(*left);
  return in.truth(value) == is_and ? in.evaluate(*right) : value;
}

Value Unary::evaluate(Interpreter& in) const {
  const Value value = in.evaluate(*operand);
  if (op == Op::logical_not) return !in.truth(value);
  in.at = at;
  return op == Op::minus ? negate(in, value) : require_number(in, value);
}

Value Conditional::evaluate(Interpreter& in) const {
  if (in.truth(in.evaluate(*condition))) return in.evaluate(*value);
  if (otherwise) return in.evaluate(*otherwise);
  return in.undefined("the inline if-expression evaluated to false and no else section was defined");
}

}  // namespace packhorse::jinja
