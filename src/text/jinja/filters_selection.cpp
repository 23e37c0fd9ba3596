// map, select, reject and their attribute forms.
#include "text/jinja/attribute_path.h"
#include "text/jinja/interpreter.h"

namespace packhorse::jinja {
namespace {

/// Removes and returns the first positional argument.
Value take_first(Call& call, std::string_view what) {
  auto& positional = call.rest.positional;
  if (positional.empty()) call.in.fail("{}() needs {}", call.builtin.name, what);
  Value first = std::move(positional.front());
  positional.erase(positional.begin());
  return first;
}

const Builtin& named(Call& call, const Value& name, const Builtin* (*find)(std::string_view), std::string_view what) {
  const Builtin* found = name.is_text() ? find(name.bytes()) : nullptr;
  if (!found)
    call.in.fail("{}(): unknown {} '{}'", call.builtin.name, what, name.is_text() ? printable(name.bytes()) : "");
  return *found;
}

Value map_attribute(Call& call) {
  const Value* attribute = nullptr;
  const Value* fallback = nullptr;
  for (const auto& [name, value] : call.rest.named) {
    if (name == "attribute")
      attribute = &value;
    else if (name == "default")
      fallback = &value;
    else
      call.in.fail("map() has no argument '{}'", printable(name));
  }
  const AttributePath path(call.in, attribute);
  List* mapped = call.in.heap().list();
  const List* items = call.in.iterate(call.self);
  for (size_t i = 0; i < items->items.size(); ++i) {
    call.in.budget().step();
    call.in.heap().append(*mapped, path.of(items->items[i], fallback));
  }
  return mapped;
}

Value map(Call& call) {
  const bool has_attribute = call.rest.positional.empty() && !call.rest.named.empty() && call.in.truth(call.self);
  if (has_attribute) return map_attribute(call);
  List* mapped = call.in.heap().list();
  if (!call.in.truth(call.self)) return mapped;
  const Builtin& filter = named(call, take_first(call, "a filter"), find_filter, "filter");
  const List* items = call.in.iterate(call.self);
  for (size_t i = 0; i < items->items.size(); ++i) {
    call.in.budget().step();
    call.in.heap().append(*mapped, run_builtin(call.in, filter, Value(items->items[i]), call.rest));
  }
  return mapped;
}

template <bool kKeep, bool kByAttribute>
Value select(Call& call) {
  Interpreter& in = call.in;
  List* selected = in.heap().list();
  if (!in.truth(call.self)) return selected;
  const Value attribute = kByAttribute ? take_first(call, "an attribute") : Value();
  const AttributePath path(in, &attribute);
  const Builtin* test = nullptr;
  if (!call.rest.positional.empty()) test = &named(call, take_first(call, "a test"), find_test, "test");
  const List* items = in.iterate(call.self);
  for (size_t i = 0; i < items->items.size(); ++i) {
    in.budget().step();
    const Value item = items->items[i];
    const Value subject = path.of(item);
    const Value verdict = test ? run_builtin(in, *test, subject, call.rest) : subject;
    if (in.truth(verdict) == kKeep) in.heap().append(*selected, item);
  }
  return selected;
}

constexpr Builtin kFilters[] = {
    {"map", "*", map},
    {"select", "*", select<true, false>},
    {"reject", "*", select<false, false>},
    {"selectattr", "*", select<true, true>},
    {"rejectattr", "*", select<false, true>},
};

}  // namespace

std::span<const Builtin> selection_filters() { return kFilters; }

}  // namespace packhorse::jinja
