// Methods of lists, tuples and dicts.
#include <algorithm>

#include "text/jinja/interpreter.h"
#include "text/jinja/operators.h"

namespace packhorse::jinja {
namespace {

List& list_of(Call& call) { return *call.self.list(); }
Dict& dict_of(Call& call) { return *call.self.dict(); }

Value append(Call& call) {
  call.in.heap().append(list_of(call), *call.arg(0));
  return None{};
}

Value extend(Call& call) {
  const std::vector<Value> added = call.in.iterate(*call.arg(0))->items;  // a copy: it may be the list itself
  call.in.budget().scan_items(added.size());
  for (const Value& item : added) call.in.heap().append(list_of(call), item);
  return None{};
}

/// Position of an index that may be negative, within [0, size].
size_t clamp_index(int64_t index, size_t size) {
  const auto end = static_cast<int64_t>(size);
  return static_cast<size_t>(std::clamp<int64_t>(index < 0 ? std::max<int64_t>(index, -end) + end : index, 0, end));
}

Value insert(Call& call) {
  auto& items = list_of(call).items;
  const size_t at = clamp_index(call.integer(0, 0), items.size());
  call.in.budget().scan_items(items.size());
  call.in.heap().append(list_of(call), *call.arg(1));
  std::rotate(items.begin() + static_cast<std::ptrdiff_t>(at), items.end() - 1, items.end());
  return None{};
}

Value pop_item(Call& call) {
  auto& items = list_of(call).items;
  const auto size = static_cast<int64_t>(items.size());
  const int64_t given = call.integer(0, -1), index = given < 0 ? given + size : given;
  if (index < 0 || index >= size) call.in.fail("pop index out of range");
  call.in.budget().scan_items(items.size());
  Value item = items[static_cast<size_t>(index)];
  items.erase(items.begin() + index);
  return item;
}

Value index(Call& call) {
  const auto& items = list_of(call).items;
  const size_t start = clamp_index(call.integer(1, 0), items.size());
  const size_t stop = call.arg(2) ? clamp_index(call.integer(2, 0), items.size()) : items.size();
  for (size_t i = start; i < stop && i < items.size(); ++i) {
    if (equal(call.in, items[i], *call.arg(0))) return static_cast<int64_t>(i);
  }
  call.in.fail("value is not in the list");
}

Value count(Call& call) {
  int64_t n = 0;
  const auto& items = list_of(call).items;
  for (size_t i = 0; i < items.size(); ++i) n += equal(call.in, items[i], *call.arg(0));
  return n;
}

Value copy_list(Call& call) { return call.in.heap().list(list_of(call).items); }

template <class Make>
Value list_of_items(Call& call, Make make) {
  call.in.budget().scan_items(dict_of(call).items().size());
  List* list = call.in.heap().list();
  for (const Dict::Item& item : dict_of(call).items()) call.in.heap().append(*list, make(item));
  return list;
}

Value items(Call& call) {
  return list_of_items(call, [&](const Dict::Item& item) { return call.in.heap().tuple({item.first, item.second}); });
}
Value keys(Call& call) {
  return list_of_items(call, [](const Dict::Item& item) { return item.first; });
}
Value values(Call& call) {
  return list_of_items(call, [](const Dict::Item& item) { return item.second; });
}

Value get(Call& call) {
  if (!call.arg(0)->is_undefined()) require_key(call.in, *call.arg(0));
  const Value* value = dict_of(call).find(*call.arg(0));
  return value ? *value : call.value(1, None{});
}

Value pop_key(Call& call) {
  require_key(call.in, *call.arg(0));
  call.in.budget().step(static_cast<int64_t>(dict_of(call).items().size()));  // later positions move
  const Value* found = dict_of(call).find(*call.arg(0));
  if (!found && !call.arg(1)) call.in.fail("pop(): no such key");
  Value value = found ? *found : *call.arg(1);
  dict_of(call).erase(*call.arg(0));
  return value;
}

Value update(Call& call) {
  Interpreter& in = call.in;
  if (const Value* other = call.arg(0)) {
    if (!other->dict()) in.fail("update() needs a mapping, got '{}'", type_name(*other));
    const std::vector<Dict::Item> added = other->dict()->items();
    in.budget().scan_items(added.size());
    for (const auto& [key, value] : added) in.heap().set(dict_of(call), key, value);
  }
  for (const auto& [name, value] : call.rest.named) in.heap().set(dict_of(call), in.text(name), value);
  return None{};
}

Value copy_dict(Call& call) {
  Dict* copy = call.in.heap().make<Dict>();
  call.in.budget().scan_items(dict_of(call).items().size());
  for (const auto& [key, value] : dict_of(call).items()) call.in.heap().set(*copy, key, value);
  return copy;
}

constexpr Builtin kListMethods[] = {
    {"append", "object", append}, {"extend", "iterable", extend},       {"insert", "index,object", insert},
    {"pop", ";index", pop_item},  {"index", "value;start,stop", index}, {"count", "value", count},
    {"copy", "", copy_list},
};

constexpr Builtin kTupleMethods[] = {
    {"index", "value;start,stop", index},
    {"count", "value", count},
};

constexpr Builtin kDictMethods[] = {
    {"items", "", items},
    {"keys", "", keys},
    {"values", "", values},
    {"get", "key;default", get},
    {"pop", "key;default", pop_key},
    {"update", ";other,*", update},
    {"copy", "", copy_dict},
};

}  // namespace

std::span<const Builtin> list_methods() { return kListMethods; }
std::span<const Builtin> tuple_methods() { return kTupleMethods; }
std::span<const Builtin> dict_methods() { return kDictMethods; }

}  // namespace packhorse::jinja
