// Execution of statements.
#include "text/jinja/interpreter.h"
#include "text/jinja/python_text.h"

namespace packhorse::jinja {
namespace {

Macro* make_macro(Interpreter& in, const MacroDefinition& definition) {
  Macro* macro = in.heap().make<Macro>();
  macro->definition = &definition;
  macro->scope = in.scope();
  in.keep_scopes(macro->scope);
  return macro;
}

Value apply_filters(Interpreter& in, const std::vector<std::unique_ptr<FilterExpr>>& filters, Value value) {
  for (const auto& filter : filters) value = filter->apply(in, value);
  return value;
}

}  // namespace

Flow PrintText::execute(Interpreter& in) const {
  in.write(text);
  return Flow::next;
}

Flow Print::execute(Interpreter& in) const {
  const Value printed = in.evaluate(*value);
  in.at = at;
  if (printed.is_text())
    in.write(printed.bytes());
  else
    in.write(to_text(in, printed));
  return Flow::next;
}

Flow Evaluate::execute(Interpreter& in) const {
  in.evaluate(*value);
  return Flow::next;
}

Flow If::execute(Interpreter& in) const {
  for (const auto& [condition, body] : branches) {
    if (in.truth(in.evaluate(*condition))) return in.execute(body);
  }
  return in.execute(otherwise);
}

void Target::assign(Interpreter& in, const Value& value) const {
  if (name == kNoName) {
    in.at = at;
    const List* values = in.iterate(value);
    if (values->items.size() != parts.size()) {
      in.fail("cannot unpack {} values into {} names", values->items.size(), parts.size());
    }
    for (size_t i = 0; i < parts.size(); ++i) parts[i].assign(in, Value(values->items[i]));
  } else if (attribute.empty()) {
    in.assign(name, value);
  } else {
    in.at = at;
    const Namespace* space = in.lookup(name).space();
    if (!space) in.fail("cannot assign attribute on a value that is not a namespace");
    in.heap().set(*space->attributes, in.text(attribute), value);
  }
}

Flow Set::execute(Interpreter& in) const {
  target.assign(in, in.evaluate(*value));
  return Flow::next;
}

Flow SetBlock::execute(Interpreter& in) const {
  Flow flow = Flow::next;
  Value text = in.capture([&] { in.in_scope(in.scope(), [&] { flow = in.execute(body); }); });
  if (flow != Flow::next) return flow;
  target.assign(in, apply_filters(in, filters, std::move(text)));
  return Flow::next;
}

Flow FilterBlock::execute(Interpreter& in) const {
  Flow flow = Flow::next;
  Value text = in.capture([&] { in.in_scope(in.scope(), [&] { flow = in.execute(body); }); });
  if (flow != Flow::next) return flow;
  in.write(to_text(in, apply_filters(in, filters, std::move(text))));
  return Flow::next;
}

Flow With::execute(Interpreter& in) const {
  std::vector<Value> values;  // all of them before the first name is set: they see the scope outside
  for (const auto& [name, value] : variables) values.push_back(in.evaluate(*value));
  return in.in_scope(in.scope(), [&] {
    for (size_t i = 0; i < values.size(); ++i) variables[i].first.assign(in, values[i]);
    return in.execute(body);
  });
}

Flow MacroStmt::execute(Interpreter& in) const {
  in.assign(id, make_macro(in, definition));
  return Flow::next;
}

Flow CallBlock::execute(Interpreter& in) const {
  const Value printed = call->evaluate_with(in, make_macro(in, definition));
  in.write(to_text(in, printed));
  return Flow::next;
}

Flow LoopControl::execute(Interpreter&) const { return flow; }

Flow For::execute(Interpreter& in) const {
  const Value items = in.evaluate(*iterable);
  in.at = at;
  return in.run_loop(*this, in.scope(), items, 0);
}

bool Loop::has(Interpreter& in, size_t i) {
  if (!node->condition) return i < items->items.size();
  while (items->items.size() <= i && scanned < source->items.size()) {
    const Value item = source->items[scanned++];
    in.budget().step();
    in.in_scope(outer, [&] {
      node->target.assign(in, item);
      if (in.truth(in.evaluate(*node->condition))) in.heap().append(*items, item);
    });
  }
  return i < items->items.size();
}

int64_t Loop::length(Interpreter& in) {
  has(in, source->items.size());  // selects all
  return static_cast<int64_t>(items->items.size());
}

Flow Interpreter::run_loop(const For& node, Scope* outer, const Value& iterable, int64_t depth) {
  Loop* loop = heap_.make<Loop>();
  loop->node = &node;
  loop->outer = outer;
  loop->depth = depth;
  loop->source = iterate(iterable);
  loop->items = node.condition ? heap_.list() : loop->source;
  if (node.condition || node.recursive) keep_scopes(outer);
  if (!loop->has(*this, 0)) return in_scope(outer, [&] { return execute(node.otherwise); });
  in_scope(outer, [&] {
    for (; loop->has(*this, loop->round); ++loop->round) {
      budget_.step();
      scope_->variables.clear();  // names set in a round end with it
      assign(node.loop, loop);
      node.target.assign(*this, Value(loop->items->items[loop->round]));
      if (execute(node.body) == Flow::end_loop) break;
    }
  });
  return Flow::next;
}

}  // namespace packhorse::jinja
