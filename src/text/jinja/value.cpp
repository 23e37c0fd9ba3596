#include "text/jinja/value.h"

#include <functional>

#include "text/jinja/chars.h"

namespace packhorse::jinja {
namespace {

constexpr size_t kTextOverhead = sizeof(Text) + 4 * sizeof(void*);  // object, reference counts, allocator
constexpr size_t kIndexOverhead = 48;                               // one node of Dict's index
constexpr size_t kSmallDict = 8;                                    // up to here a linear search is faster

size_t hash_text(std::string_view text) { return std::hash<std::string_view>{}(text); }

size_t hash_key(const Value& key) {
  if (key.is_text()) return hash_text(key.bytes());
  return key.is_number() ? std::hash<double>{}(key.real()) : 0;
}

bool equal_keys(const Value& a, const Value& b) {
  if (a.is_text() || b.is_text()) return a.is_text() && b.is_text() && a.bytes() == b.bytes();
  if (a.is_number() != b.is_number()) return false;
  if (!a.is_number()) return true;  // both none
  return a.is_integer() && b.is_integer() ? a.integer() == b.integer() : a.real() == b.real();
}

}  // namespace

Text::Text(std::string text, Budget* payer, bool markup)
    : bytes(std::move(text)), n_chars(count_chars(bytes)), is_markup(markup), budget(payer) {
  if (!budget) return;
  budget->take_memory(bytes.size() + kTextOverhead);
}

Text::~Text() {
  if (budget) budget->give_memory(bytes.size() + kTextOverhead);
}

std::string_view type_name(const Value& value) {
  static constexpr std::string_view kNames[] = {"Undefined", "NoneType", "bool",       "int",       "float",
                                                "str",       "list",     "dict",       "Namespace", "function",
                                                "function",  "Macro",    "LoopContext"};
  static_assert(std::size(kNames) == std::variant_size_v<Value::Data>);
  if (const List* list = value.list(); list && list->form != List::Form::list) return "tuple";
  return kNames[value.data.index()];
}

bool Dict::can_be_key(const Value& key) { return key.is_none() || key.is_number() || key.is_text(); }

template <class Equal>
size_t Dict::position(size_t hash, Equal equal) const {
  if (items_.size() <= kSmallDict) {
    size_t i = 0;
    while (i < items_.size() && !equal(items_[i].first)) ++i;
    return i;
  }
  if (index_.empty()) {
    for (size_t i = 0; i < items_.size(); ++i) index_.emplace(hash_key(items_[i].first), i);
  }
  const auto [begin, end] = index_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    if (equal(items_[it->second].first)) return it->second;
  }
  return items_.size();
}

const Value* Dict::find(const Value& key) const {
  if (!can_be_key(key)) return nullptr;
  const size_t i = position(hash_key(key), [&](const Value& other) { return equal_keys(key, other); });
  return i < items_.size() ? &items_[i].second : nullptr;
}

const Value* Dict::find(std::string_view key) const {
  const auto equal = [&](const Value& other) { return other.is_text() && other.bytes() == key; };
  const size_t i = position(hash_text(key), equal);
  return i < items_.size() ? &items_[i].second : nullptr;
}

bool Dict::set(const Value& key, Value value) {
  const size_t hash = hash_key(key);
  const size_t i = position(hash, [&](const Value& other) { return equal_keys(key, other); });
  if (i < items_.size()) {
    items_[i].second = std::move(value);
    return false;
  }
  items_.emplace_back(key, std::move(value));
  if (!index_.empty()) index_.emplace(hash, i);
  return true;
}

bool Dict::erase(const Value& key) {
  const size_t i = position(hash_key(key), [&](const Value& other) { return equal_keys(key, other); });
  if (i == items_.size()) return false;
  items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(i));
  index_.clear();
  return true;
}

Value Heap::text(std::string bytes, bool is_markup) {
  budget_.check_text(bytes.size());
  budget_.scan_bytes(bytes.size());
  return TextPtr(std::make_shared<const Text>(std::move(bytes), &budget_, is_markup));
}

List* Heap::list(std::vector<Value> items, List::Form form) {
  budget_.take_memory(items.size() * sizeof(Value));
  budget_.scan_items(items.size());
  List* list = make<List>();
  list->items = std::move(items);
  list->form = form;
  return list;
}

void Heap::append(List& list, Value value) {
  budget_.take_memory(sizeof(Value));
  list.items.push_back(std::move(value));
}

void Heap::set(Dict& dict, const Value& key, Value value) {
  if (dict.set(key, std::move(value))) budget_.take_memory(sizeof(Dict::Item) + kIndexOverhead);
}

}  // namespace packhorse::jinja
