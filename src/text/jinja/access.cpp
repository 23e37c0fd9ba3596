// Attributes, subscripts, iteration and truth: what Python's objects answer.
#include <algorithm>
#include <limits>

#include "text/jinja/chars.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_text.h"

namespace packhorse::jinja {
namespace {

std::string describe_missing(const Value& object, std::string_view name) {
  const std::string_view type = type_name(object);
  return fmt::format("'{}{}' has no attribute '{}'", object.is_none() ? "None" : type,
                     object.is_none() ? "" : " object", printable(name));
}

struct Range {
  int64_t start, step;
  size_t count;
};

/// The indices that Python's slice selects out of `size`.
Range resolve_slice(Interpreter& in, const Value& start, const Value& stop, const Value& step, int64_t size) {
  const auto bound = [&](const Value& value, int64_t fallback, int64_t low, int64_t high) {
    if (value.is_none()) return fallback;
    const int64_t index = value.integer();
    return std::clamp(index < 0 ? (index < -size ? -1 : index + size) : index, low, high);
  };
  const int64_t stride = step.is_none() ? 1 : step.integer();
  if (stride == 0) in.fail("slice step cannot be zero");
  Range range{0, stride, 0};
  if (stride > 0) {
    range.start = bound(start, 0, 0, size);
    const int64_t end = bound(stop, size, 0, size);
    if (range.start < end) range.count = static_cast<size_t>((end - range.start - 1) / stride + 1);
  } else {
    range.start = bound(start, size - 1, -1, size - 1);
    const int64_t end = bound(stop, -1, -1, size - 1);
    const uint64_t magnitude = static_cast<uint64_t>(-(stride + 1)) + 1;  // -stride may not fit
    if (end < range.start) {
      range.count = static_cast<size_t>(static_cast<uint64_t>(range.start - end - 1) / magnitude + 1);
    }
  }
  return range;
}

}  // namespace

bool Interpreter::truth(const Value& value) const {
  if (value.is_undefined() || value.is_none()) return false;
  if (value.is<double>()) return value.real() != 0;
  if (value.is_integer()) return value.integer() != 0;
  if (value.is_text()) return !value.bytes().empty();
  if (const List* list = value.list()) return !list->items.empty();
  if (const Dict* dict = value.dict()) return !dict->items().empty();
  return true;
}

int64_t Interpreter::length(const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_text()) return static_cast<int64_t>((*value.get<TextPtr>())->n_chars);
  if (const List* list = value.list()) return static_cast<int64_t>(list->items.size());
  if (const Dict* dict = value.dict()) return static_cast<int64_t>(dict->items().size());
  if (Loop* const* loop = value.get<Loop*>()) return (*loop)->length(*this);
  fail("object of type '{}' has no len()", type_name(value));
}

bool Interpreter::is_iterable(const Value& value) const {
  return value.is_undefined() || value.is_text() || value.list() || value.dict();
}

List* Interpreter::iterate(const Value& value) {
  if (value.list()) return value.list();
  if (!is_iterable(value)) fail("'{}' object is not iterable", type_name(value));
  List* items = heap_.list();
  if (const Dict* dict = value.dict()) {
    budget_.scan_items(dict->items().size());
    for (const Dict::Item& item : dict->items()) heap_.append(*items, item.first);
  } else if (value.is_text()) {
    budget_.step(length(value));
    for (const std::string_view c : split_chars(value.bytes())) heap_.append(*items, text(std::string(c)));
  }
  return items;
}

Value Interpreter::attribute(const Value& object, const TextPtr& name) {
  require_defined(object);
  if (const Namespace* space = object.space()) {
    const Value* value = space->attributes->find(name->bytes);
    if (value) return *value;
  } else if (Loop* const* loop = object.get<Loop*>()) {
    return loop_attribute(**loop, name->bytes);
  } else if (const List* list = object.list(); list && list->form == List::Form::group) {
    if (name->bytes == "grouper") return list->items[0];
    if (name->bytes == "list") return list->items[1];
  }
  if (const Builtin* builtin = find_method(object, name->bytes)) {
    Method* method = heap_.make<Method>();
    method->self = object;
    method->builtin = builtin;
    return method;
  }
  if (const Dict* dict = object.dict()) {
    if (const Value* value = dict->find(name->bytes)) return *value;
  }
  return undefined(describe_missing(object, name->bytes));
}

Value Interpreter::subscript(const Value& object, const Value& key) {
  require_defined(object);
  if (const Dict* dict = object.dict()) {
    if (const Value* value = dict->find(key)) return *value;
  } else if (key.is_integer()) {
    const int64_t size = object.is_text() || object.list() ? length(object) : 0;
    const int64_t index = key.integer() < 0 ? key.integer() + size : key.integer();
    if (index >= 0 && index < size) {
      if (object.list()) return object.list()->items[static_cast<size_t>(index)];
      return text_slice(**object.get<TextPtr>(), index, 1, 1);
    }
  }
  if (key.is_text()) return attribute(object, *key.get<TextPtr>());
  return undefined(fmt::format("{} object has no element {}", type_name(object), printable(to_repr(*this, key))));
}

Value Interpreter::slice(const Value& object, const Value& start, const Value& stop, const Value& step) {
  require_defined(object);
  for (const Value* bound : {&start, &stop, &step}) {
    if (!bound->is_none() && !bound->is_integer()) fail("slice indices must be integers or none");
  }
  if (object.is_text()) {
    const Text& whole = **object.get<TextPtr>();
    const Range range = resolve_slice(*this, start, stop, step, static_cast<int64_t>(whole.n_chars));
    return text_slice(whole, range.start, range.step, range.count);
  }
  if (const List* list = object.list()) {
    const Range range = resolve_slice(*this, start, stop, step, static_cast<int64_t>(list->items.size()));
    std::vector<Value> items;
    budget_.scan_items(range.count);
    items.reserve(range.count);
    int64_t index = range.start;
    for (size_t i = 0; i < range.count; ++i, index += i < range.count ? range.step : 0) {
      items.push_back(list->items[static_cast<size_t>(index)]);
    }
    return heap_.list(std::move(items), list->form == List::Form::list ? List::Form::list : List::Form::tuple);
  }
  return undefined(fmt::format("{} object has no slices", type_name(object)));
}

Value Interpreter::text_slice(const Text& whole, int64_t start, int64_t step, size_t count) {
  if (count == 0) return text({});
  budget_.scan_bytes(whole.bytes.size());
  const std::string_view bytes = whole.bytes;
  if (step == 1) {
    if (whole.one_byte_chars()) return text(std::string(bytes.substr(static_cast<size_t>(start), count)));
    const size_t begin = char_offset(bytes, static_cast<size_t>(start));
    const std::string_view tail = bytes.substr(begin);
    return text(std::string(tail.substr(0, char_offset(tail, count))));
  }
  budget_.scan_chars(whole.bytes.size());
  const std::vector<std::string_view> chars =
      whole.one_byte_chars() ? std::vector<std::string_view>{} : split_chars(bytes);
  TextBuilder out(*this);
  int64_t index = start;
  for (size_t i = 0; i < count; ++i, index += i < count ? step : 0) {
    const auto at_char = static_cast<size_t>(index);
    out << (chars.empty() ? bytes.substr(at_char, 1) : chars[at_char]);
  }
  return out.value();
}

Value Interpreter::loop_attribute(Loop& loop, std::string_view name) {
  const auto index = static_cast<int64_t>(loop.round);
  if (name == "index") return index + 1;
  if (name == "index0") return index;
  if (name == "first") return index == 0;
  if (name == "last") return !loop.has(*this, loop.round + 1);
  if (name == "length") return loop.length(*this);
  if (name == "revindex") return loop.length(*this) - index;
  if (name == "revindex0") return loop.length(*this) - index - 1;
  if (name == "depth") return loop.depth + 1;
  if (name == "depth0") return loop.depth;
  if (name == "previtem") {
    if (loop.round == 0 || loop.round > loop.items->items.size()) return undefined("there is no previous item");
    return loop.items->items[loop.round - 1];
  }
  if (name == "nextitem") {
    if (!loop.has(*this, loop.round + 1)) return undefined("there is no next item");
    return loop.items->items[loop.round + 1];
  }
  for (const Builtin& method : loop_methods()) {
    if (method.name != name) continue;
    Method* bound = heap_.make<Method>();
    bound->self = &loop;
    bound->builtin = &method;
    return bound;
  }
  return undefined(describe_missing(&loop, name));
}

}  // namespace packhorse::jinja
