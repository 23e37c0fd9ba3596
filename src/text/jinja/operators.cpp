#include "text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "text/jinja/chars.h"
#include "text/jinja/format.h"
#include "text/jinja/python_text.h"

namespace packhorse::jinja {
namespace {

constexpr std::string_view symbol(Operator op) {
  constexpr std::string_view kSymbols[] = {"+", "-", "*", "/", "//", "%", "**", "~"};
  return kSymbols[static_cast<size_t>(op)];
}

[[noreturn]] void unsupported(Interpreter& in, Operator op, const Value& a, const Value& b) {
  in.require_defined(a);
  in.require_defined(b);
  if (op == Operator::add && a.is_text()) {
    in.fail("can only concatenate str (not \"{}\") to str", type_name(b));
  }
  in.fail("unsupported operand types for {}: '{}' and '{}'", symbol(op), type_name(a), type_name(b));
}

/// By reference, since the argument before may be the call that computes the result.
Value checked(Interpreter& in, bool overflows, const int64_t& result) {
  if (overflows) in.fail("integer result is out of range");
  return result;
}

int64_t floor_divide(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Value integer_power(Interpreter& in, int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) in.fail("zero cannot be raised to a negative power");
    return std::pow(static_cast<double>(base), static_cast<double>(exponent));
  }
  int64_t result = 1;
  bool overflows = false, base_overflows = false;
  while (exponent > 0) {
    if (exponent & 1) overflows = overflows || base_overflows || __builtin_mul_overflow(result, base, &result);
    exponent >>= 1;
    if (exponent > 0) base_overflows = base_overflows || __builtin_mul_overflow(base, base, &base);
    if (overflows) break;
  }
  return checked(in, overflows, result);
}

Value integer_operator(Interpreter& in, Operator op, int64_t a, int64_t b) {
  int64_t result = 0;
  const bool divides = op == Operator::divide || op == Operator::floor_divide || op == Operator::modulo;
  if (divides && b == 0) in.fail("division by zero");
  const bool too_large = b == -1 && a == std::numeric_limits<int64_t>::min();  // the one quotient out of range
  switch (op) {
    case Operator::add:
      return checked(in, __builtin_add_overflow(a, b, &result), result);
    case Operator::subtract:
      return checked(in, __builtin_sub_overflow(a, b, &result), result);
    case Operator::multiply:
      return checked(in, __builtin_mul_overflow(a, b, &result), result);
    case Operator::divide:
      return static_cast<double>(a) / static_cast<double>(b);
    case Operator::floor_divide:
      return checked(in, too_large, too_large ? 0 : floor_divide(a, b));
    case Operator::modulo:
      return too_large ? 0 : a - floor_divide(a, b) * b;
    case Operator::power:
      return integer_power(in, a, b);
    case Operator::join:
      break;
  }
  return {};
}

Value real_operator(Interpreter& in, Operator op, double a, double b) {
  const bool divides = op == Operator::divide || op == Operator::floor_divide || op == Operator::modulo;
  if (divides && b == 0) in.fail("division by zero");
  switch (op) {
    case Operator::add:
      return a + b;
    case Operator::subtract:
      return a - b;
    case Operator::multiply:
      return a * b;
    case Operator::divide:
      return a / b;
    case Operator::floor_divide:
      return std::floor(a / b);
    case Operator::modulo: {
      const double remainder = std::fmod(a, b);
      return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : std::copysign(remainder, b);
    }
    case Operator::power: {
      if (a == 0 && b < 0) in.fail("zero cannot be raised to a negative power");
      const double power = std::pow(a, b);
      if (!std::isfinite(power) && std::isfinite(a) && std::isfinite(b)) in.fail("result of ** is out of range");
      return power;
    }
    case Operator::join:
      break;
  }
  return {};
}

/// Markup takes no plain text in without escaping it.
Value add_texts(Interpreter& in, const Text& a, const Text& b) {
  TextBuilder out(in);
  const bool is_markup = a.is_markup || b.is_markup;
  for (const Text* part : {&a, &b}) {
    if (is_markup && !part->is_markup)
      out << escape_html(part->bytes);
    else
      out << part->bytes;
  }
  return is_markup ? in.heap().markup(out.take()) : out.value();
}

Value add_lists(Interpreter& in, const List& a, const List& b) {
  std::vector<Value> items;
  in.budget().scan_items(a.items.size() + b.items.size());
  items.reserve(a.items.size() + b.items.size());
  items.insert(items.end(), a.items.begin(), a.items.end());
  items.insert(items.end(), b.items.begin(), b.items.end());
  return in.heap().list(std::move(items), a.form == List::Form::list ? List::Form::list : List::Form::tuple);
}

/// text * n, list * n
Value repeat(Interpreter& in, const Value& value, int64_t times) {
  const size_t n = static_cast<size_t>(std::max<int64_t>(times, 0));
  if (value.is_text()) {
    TextBuilder out(in);
    out.repeat(value.bytes(), n);
    return out.value();
  }
  List* out = in.heap().list({}, value.list()->form);
  const size_t n_items = value.list()->items.size();
  for (size_t i = 0; i < n && n_items > 0; ++i) {
    in.budget().step(static_cast<int64_t>(n_items));
    for (size_t j = 0; j < n_items; ++j) in.heap().append(*out, value.list()->items[j]);
  }
  return out;
}

bool same_list_type(const List& a, const List& b) {
  return (a.form == List::Form::list) == (b.form == List::Form::list);
}

bool equal_lists(Interpreter& in, const List& a, const List& b) {
  if (!same_list_type(a, b) || a.items.size() != b.items.size()) return false;
  for (size_t i = 0; i < a.items.size() && i < b.items.size(); ++i) {
    if (!equal(in, a.items[i], b.items[i])) return false;
  }
  return true;
}

bool equal_dicts(Interpreter& in, const Dict& a, const Dict& b) {
  if (a.items().size() != b.items().size()) return false;
  for (const auto& [key, value] : a.items()) {
    const Value* other = b.find(key);
    if (!other || !equal(in, value, *other)) return false;
  }
  return true;
}

}  // namespace

void require_key(Interpreter& in, const Value& key) {
  if (!Dict::can_be_key(key)) in.fail("unhashable type: '{}'", type_name(key));
}

Value require_number(Interpreter& in, const Value& value) {
  in.require_defined(value);
  if (!value.is_number()) in.fail("bad operand type for a sign: '{}'", type_name(value));
  if (value.is<bool>()) return value.integer();
  return value;
}

Value negate(Interpreter& in, const Value& value) {
  const Value number = require_number(in, value);
  if (!number.is_integer()) return -number.real();
  return integer_operator(in, Operator::subtract, 0, number.integer());
}

Value apply_operator(Interpreter& in, Operator op, const Value& a, const Value& b) {
  if (op == Operator::join) {
    TextBuilder out(in);
    out << to_text(in, a) << to_text(in, b);
    return out.value();
  }
  if (a.is_number() && b.is_number()) {
    if (a.is_integer() && b.is_integer()) return integer_operator(in, op, a.integer(), b.integer());
    return real_operator(in, op, a.real(), b.real());
  }
  if (op == Operator::add) {
    if (a.is_text() && b.is_text()) return add_texts(in, **a.get<TextPtr>(), **b.get<TextPtr>());
    if (a.list() && b.list() && same_list_type(*a.list(), *b.list())) return add_lists(in, *a.list(), *b.list());
  }
  if (op == Operator::multiply) {
    if ((a.is_text() || a.list()) && b.is_integer()) return repeat(in, a, b.integer());
    if ((b.is_text() || b.list()) && a.is_integer()) return repeat(in, b, a.integer());
  }
  if (op == Operator::modulo && a.is_text()) return format_percent(in, a.bytes(), b);
  unsupported(in, op, a, b);
}

bool equal(Interpreter& in, const Value& a, const Value& b) {
  in.budget().step();
  const Interpreter::Nesting nesting(in);
  if (a.is_number() && b.is_number()) {
    return a.is_integer() && b.is_integer() ? a.integer() == b.integer() : a.real() == b.real();
  }
  if (a.data.index() != b.data.index()) return false;
  if (a.is_text()) {
    if (a.bytes().size() != b.bytes().size()) return false;
    in.budget().scan_bytes(a.bytes().size());
    return a.bytes() == b.bytes();
  }
  if (a.list()) return a.list() == b.list() || equal_lists(in, *a.list(), *b.list());
  if (a.dict()) return a.dict() == b.dict() || equal_dicts(in, *a.dict(), *b.dict());
  if (a.is_none() || a.is_undefined()) return true;
  return std::visit(
      [&](const auto& value) {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_pointer_v<T>)
          return value == *b.get<T>();
        else
          return false;
      },
      a.data);
}

bool less(Interpreter& in, const Value& a, const Value& b) {
  in.budget().step();
  const Interpreter::Nesting nesting(in);
  in.require_defined(a);
  in.require_defined(b);
  if (a.is_number() && b.is_number()) {
    return a.is_integer() && b.is_integer() ? a.integer() < b.integer() : a.real() < b.real();
  }
  if (a.is_text() && b.is_text()) {
    in.budget().scan_bytes(std::min(a.bytes().size(), b.bytes().size()));
    return a.bytes() < b.bytes();  // byte order of UTF-8 is that of code points
  }
  if (a.list() && b.list() && same_list_type(*a.list(), *b.list())) {
    const auto &left = a.list()->items, &right = b.list()->items;
    const size_t shared = std::min(left.size(), right.size());
    for (size_t i = 0; i < shared; ++i) {
      if (!equal(in, left[i], right[i])) return less(in, left[i], right[i]);
    }
    return left.size() < right.size();
  }
  in.fail("no order between '{}' and '{}'", type_name(a), type_name(b));
}

bool contains(Interpreter& in, const Value& container, const Value& item) {
  if (container.is_text()) {
    in.require_defined(item);
    if (!item.is_text()) in.fail("'in <string>' requires string as left operand, not {}", type_name(item));
    in.budget().scan_bytes(container.bytes().size());
    return find_text(container.bytes(), item.bytes()) != std::string_view::npos;
  }
  if (const Dict* dict = container.dict()) {
    if (!item.is_undefined()) require_key(in, item);
    return dict->find(item) != nullptr;
  }
  const List* list = in.iterate(container);
  for (size_t i = 0; i < list->items.size(); ++i) {
    if (equal(in, item, Value(list->items[i]))) return true;
  }
  return false;
}

bool compare(Interpreter& in, Comparison comparison, const Value& a, const Value& b) {
  switch (comparison) {
    case Comparison::equal:
      return equal(in, a, b);
    case Comparison::not_equal:
      return !equal(in, a, b);
    case Comparison::less:
      return less(in, a, b);
    case Comparison::greater:
      return less(in, b, a);
    // Not the negation of the opposite: neither holds for NaN.
    case Comparison::less_equal:
      return less(in, a, b) || equal(in, a, b);
    case Comparison::greater_equal:
      return less(in, b, a) || equal(in, a, b);
    case Comparison::in:
      return contains(in, b, a);
    case Comparison::not_in:
      return !contains(in, b, a);
  }
  return false;
}

}  // namespace packhorse::jinja
