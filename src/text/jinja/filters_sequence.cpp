// Filters that order, cut and fold sequences.
#include <algorithm>

#include "text/jinja/attribute_path.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_text.h"

namespace packhorse::jinja {
namespace {

/// The items of the sequence a filter is applied to; they outlive the call.
const std::vector<Value>& items_of(Call& call) {
  const List* list = call.in.iterate(call.self);
  call.in.budget().scan_items(list->items.size());
  return list->items;
}

struct Keyed {
  Value key;
  const Value* item;
};

std::vector<Value> sorted(Interpreter& in, std::vector<Keyed> keyed, bool reverse) {
  std::stable_sort(keyed.begin(), keyed.end(), [&](const Keyed& a, const Keyed& b) {
    return reverse ? less(in, b.key, a.key) : less(in, a.key, b.key);
  });
  std::vector<Value> items;
  items.reserve(keyed.size());
  for (const Keyed& entry : keyed) items.push_back(*entry.item);
  return items;
}

/// Sort keys of "a,b.c": one per part, in a list.
class SortKey {
 public:
  SortKey(Interpreter& in, const Value* attribute, bool case_sensitive) : in_(in), case_sensitive_(case_sensitive) {
    if (!attribute || !attribute->is_text()) {
      paths_.emplace_back(in, attribute);
      return;
    }
    const std::string_view text = attribute->bytes();
    for (size_t start = 0; start <= text.size();) {
      const size_t end = std::min(text.find(',', start), text.size());
      paths_.emplace_back(in, text.substr(start, end - start));
      start = end + 1;
    }
  }
  Value of(const Value& item) const {
    std::vector<Value> keys;
    for (const AttributePath& path : paths_) {
      const Value key = path.of(item);
      keys.push_back(case_sensitive_ ? key : ignore_case(in_, key));
    }
    return in_.heap().list(std::move(keys));
  }

 private:
  Interpreter& in_;
  bool case_sensitive_;
  std::vector<AttributePath> paths_;
};

Value sort(Call& call) {
  const SortKey key(call.in, call.arg(2), call.truth(1, false));
  std::vector<Keyed> keyed;
  for (const Value& item : items_of(call)) keyed.push_back({key.of(item), &item});
  return call.in.heap().list(sorted(call.in, std::move(keyed), call.truth(0, false)));
}

Value dictsort(Call& call) {
  Interpreter& in = call.in;
  const Dict* dict = call.self.dict();
  const std::string_view by = call.text(1, "key");
  if (!dict) in.fail("dictsort() needs a mapping, got '{}'", type_name(call.self));
  if (by != "key" && by != "value") in.fail("dictsort() sorts by 'key' or 'value'");
  std::vector<Value> items;
  for (const auto& [key, value] : dict->items()) items.push_back(in.heap().tuple({key, value}));
  std::vector<Keyed> keyed;
  for (const Value& item : items) {
    const Value& key = item.list()->items[by == "key" ? 0 : 1];
    keyed.push_back({call.truth(0, false) ? key : ignore_case(in, key), &item});
  }
  return in.heap().list(sorted(in, std::move(keyed), call.truth(2, false)));
}

Value groupby(Call& call) {
  Interpreter& in = call.in;
  const AttributePath path(in, call.arg(0));
  const bool case_sensitive = call.truth(2, false);
  const auto key_of = [&](const Value& item) { return path.of(item, call.arg(1)); };
  std::vector<Keyed> keyed;
  for (const Value& item : items_of(call)) {
    const Value key = key_of(item);
    keyed.push_back({case_sensitive ? key : ignore_case(in, key), &item});
  }
  std::stable_sort(keyed.begin(), keyed.end(), [&](const Keyed& a, const Keyed& b) { return less(in, a.key, b.key); });
  List* groups = in.heap().list();
  for (size_t i = 0; i < keyed.size();) {
    List* members = in.heap().list();
    const size_t first = i;
    for (; i < keyed.size() && equal(in, keyed[i].key, keyed[first].key); ++i)
      in.heap().append(*members, *keyed[i].item);
    if (i == first) ++i;  // a key that is not equal to itself
    const Value group = in.heap().list({key_of(*keyed[first].item), members}, List::Form::group);
    in.heap().append(*groups, group);
  }
  return groups;
}

Value unique(Call& call) {
  Interpreter& in = call.in;
  const AttributePath path(in, call.arg(1));
  Dict* seen = in.heap().make<Dict>();
  List* kept = in.heap().list();
  for (const Value& item : items_of(call)) {
    in.budget().step();
    const Value key = call.truth(0, false) ? path.of(item) : ignore_case(in, path.of(item));
    require_key(in, key);
    if (seen->find(key)) continue;
    in.heap().set(*seen, key, true);
    in.heap().append(*kept, item);
  }
  return kept;
}

template <bool kMax>
Value extreme(Call& call) {
  Interpreter& in = call.in;
  const AttributePath path(in, call.arg(1));
  const auto& items = items_of(call);
  if (items.empty()) return in.undefined("No aggregated item, sequence was empty.");
  const Value* best = &items.front();
  bool first = true;
  Value best_key;
  for (const Value& item : items) {
    Value key = call.truth(0, false) ? path.of(item) : ignore_case(in, path.of(item));
    if (!first && !(kMax ? less(in, best_key, key) : less(in, key, best_key))) continue;
    first = false;
    best = &item;
    best_key = std::move(key);
  }
  return *best;
}

Value sum(Call& call) {
  const AttributePath path(call.in, call.arg(0));
  Value total = call.value(1, 0);
  for (const Value& item : items_of(call)) {
    call.in.budget().step();
    total = apply_operator(call.in, Operator::add, total, path.of(item));
  }
  return total;
}

Value first(Call& call) {
  const auto& items = items_of(call);
  return items.empty() ? call.in.undefined("No first item, sequence was empty.") : items.front();
}

Value last(Call& call) {
  const auto& items = items_of(call);
  return items.empty() ? call.in.undefined("No last item, sequence was empty.") : items.back();
}

Value reverse(Call& call) {
  if (call.self.is_text()) return call.in.slice(call.self, None{}, None{}, -1);
  const auto& items = items_of(call);
  return call.in.heap().list({items.rbegin(), items.rend()});
}

Value batch(Call& call) {
  Interpreter& in = call.in;
  const int64_t size = call.integer(0, 0);
  if (size < 1) in.fail("batch() needs a positive number");
  List* batches = in.heap().list();
  List* current = nullptr;
  for (const Value& item : items_of(call)) {
    in.budget().step();
    if (!current || static_cast<int64_t>(current->items.size()) == size) {
      current = in.heap().list();
      in.heap().append(*batches, current);
    }
    in.heap().append(*current, item);
  }
  while (current && call.given(1) && static_cast<int64_t>(current->items.size()) < size) {
    in.budget().step();
    in.heap().append(*current, *call.given(1));
  }
  return batches;
}

Value slice(Call& call) {
  Interpreter& in = call.in;
  const int64_t n_slices = call.integer(0, 0);
  if (n_slices < 1) in.fail("slice() needs a positive number");
  const auto& items = items_of(call);
  const auto size = static_cast<int64_t>(items.size());
  const int64_t per_slice = size / n_slices, n_larger = size % n_slices;
  List* slices = in.heap().list();
  auto next = items.begin();
  for (int64_t i = 0; i < n_slices; ++i) {
    in.budget().step();
    const int64_t count = per_slice + (i < n_larger ? 1 : 0);
    List* one = in.heap().list({next, next + count});
    if (call.given(1) && i >= n_larger) in.heap().append(*one, *call.given(1));
    in.heap().append(*slices, one);
    next += count;
  }
  return slices;
}

Value items(Call& call) {
  if (call.self.is_undefined()) return call.in.heap().list();
  if (!call.self.dict()) call.in.fail("can only get item pairs from a mapping, not from '{}'", type_name(call.self));
  return run_builtin(call.in, *find_method(call.self, "items"), call.self, {});
}

constexpr Builtin kFilters[] = {
    {"sort", ";reverse,case_sensitive,attribute", sort},
    {"dictsort", ";case_sensitive,by,reverse", dictsort},
    {"groupby", "attribute;default,case_sensitive", groupby},
    {"unique", ";case_sensitive,attribute", unique},
    {"min", ";case_sensitive,attribute", extreme<false>},
    {"max", ";case_sensitive,attribute", extreme<true>},
    {"sum", ";attribute,start", sum},
    {"first", "", first},
    {"last", "", last},
    {"reverse", "", reverse},
    {"list", "", [](Call& call) -> Value { return call.in.heap().list(items_of(call)); }},
    {"length", "", [](Call& call) -> Value { return call.in.length(call.self); }},
    {"count", "", [](Call& call) -> Value { return call.in.length(call.self); }},
    {"batch", "linecount;fill_with", batch},
    {"slice", "slices;fill_with", slice},
    {"items", "", items},
};

}  // namespace

std::span<const Builtin> sequence_filters() { return kFilters; }

}  // namespace packhorse::jinja
