// Filters about single values: defaults, numbers, JSON.
#include <charconv>
#include <cmath>

#include "text/jinja/interpreter.h"
#include "text/jinja/numbers.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_text.h"

namespace packhorse::jinja {
namespace {

Value or_default(Call& call) {
  const bool missing = call.self.is_undefined() || (call.truth(1, false) && !call.in.truth(call.self));
  return missing ? call.value(0, call.in.text({})) : call.self;
}

Value truncated(Interpreter& in, double real) {
  if (!(std::fabs(real) < 9.2e18)) in.fail("cannot convert {} to an integer", real_text(real));
  return static_cast<int64_t>(real);
}

Value to_integer(Call& call) {
  Interpreter& in = call.in;
  in.require_defined(call.self);
  if (call.self.is_integer()) return call.self.integer();
  if (call.self.is<double>()) {
    return std::isnan(call.self.real()) ? call.value(0, 0) : truncated(in, call.self.real());
  }
  if (!call.self.is_text()) return call.value(0, 0);
  const auto base = static_cast<int>(std::clamp<int64_t>(call.integer(1, 10), -1, 37));
  if (const auto integer = parse_integer(call.self.bytes(), base)) return *integer;
  const auto real = parse_real(call.self.bytes());  // "42.23" is 42
  return real && std::isfinite(*real) ? truncated(in, *real) : call.value(0, 0);
}

Value to_real(Call& call) {
  call.in.require_defined(call.self);
  if (call.self.is_number()) return call.self.real();
  const auto real = call.self.is_text() ? parse_real(call.self.bytes()) : std::nullopt;
  return real ? Value(*real) : call.value(0, 0.0);
}

Value absolute(Call& call) {
  const Value number = require_number(call.in, call.self);
  const bool negative = number.is_integer() ? number.integer() < 0 : std::signbit(number.real());
  return negative ? negate(call.in, number) : number;
}

/// Nearest at `precision` decimals, by the decimal digits of the exact value, as Python rounds.
double round_decimals(double value, int precision) {
  char buffer[512];
  const auto end = std::to_chars(std::begin(buffer), std::end(buffer), value, std::chars_format::fixed, precision).ptr;
  double rounded = value;
  std::from_chars(buffer, end, rounded);
  return rounded;
}

Value round(Call& call) {
  Interpreter& in = call.in;
  const Value number = require_number(in, call.self);
  const int64_t precision = call.integer(0, 0);
  const std::string_view method = call.text(1, "common");
  if (method != "common" && method != "ceil" && method != "floor")
    in.fail("round() method must be common, ceil or floor");
  if (precision < -100 || precision > 100) in.fail("round() precision is out of range");
  const double scale = std::pow(10.0, static_cast<double>(precision)), value = number.real();
  if (!std::isfinite(value)) return value;
  if (method == "ceil") return std::ceil(value * scale) / scale;
  if (method == "floor") return std::floor(value * scale) / scale;
  if (number.is_integer()) {
    if (precision >= 0) return number;
    return truncated(in, std::nearbyint(value * scale) / scale);
  }
  return precision >= 0 ? round_decimals(value, static_cast<int>(precision)) : std::nearbyint(value * scale) / scale;
}

Value tojson(Call& call) {
  Interpreter& in = call.in;
  JsonStyle style;
  style.ascii_only = call.truth(0, false);
  style.sort_keys = call.truth(3, false);
  if (const Value* indent = call.given(1)) {
    style.multi_line = true;
    style.item_separator = ",";
    if (indent->is_text()) {
      style.indent = indent->bytes();
    } else {
      const auto width = static_cast<size_t>(std::max<int64_t>(call.integer(1, 0), 0));
      in.budget().check_text(width);
      style.indent.assign(width, ' ');
    }
  }
  if (const Value* separators = call.given(2)) {
    const List* parts = in.iterate(*separators);
    if (parts->items.size() != 2 || !parts->items[0].is_text() || !parts->items[1].is_text()) {
      in.fail("tojson() separators must be two strings");
    }
    style.item_separator = parts->items[0].bytes();
    style.key_separator = parts->items[1].bytes();
  }
  return in.text(to_json(in, call.self, style));
}

Value attr(Call& call) {
  Interpreter& in = call.in;
  const Value name = in.text(call.string(0));
  if (!call.self.dict()) return in.attribute(call.self, *name.get<TextPtr>());
  // Attributes only: not the keys of a dict.
  if (find_method(call.self, name.bytes())) return in.attribute(call.self, *name.get<TextPtr>());
  return in.undefined(fmt::format("'dict object' has no attribute '{}'", printable(name.bytes())));
}

constexpr Builtin kFilters[] = {
    {"default", ";default_value,boolean", or_default},
    {"d", ";default_value,boolean", or_default},
    {"int", ";default,base", to_integer},
    {"float", ";default", to_real},
    {"abs", "", absolute},
    {"round", ";precision,method", round},
    {"tojson", ";ensure_ascii,indent,separators,sort_keys", tojson},
    {"attr", "name", attr},
};

}  // namespace

std::span<const Builtin> value_filters() { return kFilters; }

}  // namespace packhorse::jinja
