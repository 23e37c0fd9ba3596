// Tests: what may follow "is".
#include "text/jinja/chars.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_text.h"

namespace packhorse::jinja {
namespace {

Value remainder(Call& call, const Value& divisor) {
  return apply_operator(call.in, Operator::modulo, call.self, divisor);
}

template <Comparison kComparison>
Value compares(Call& call) {
  return compare(call.in, kComparison, call.self, *call.arg(0));
}

bool is_same(const Value& a, const Value& b) {
  if (a.data.index() != b.data.index()) return false;
  return std::visit(
      [&](const auto& value) {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, None>)
          return true;
        else if constexpr (std::is_same_v<T, Undefined>)
          return false;
        else if constexpr (std::is_same_v<T, TextPtr>)
          return value->bytes == (*b.get<T>())->bytes;
        else
          return value == *b.get<T>();
      },
      a.data);
}

Value has_case(Call& call, std::string_view method) {
  const Value text = call.in.text(to_text(call.in, call.self));
  return run_builtin(call.in, *find_method(text, method), text, {});
}

/// Row of a test that only looks at the value.
template <auto kHolds>
constexpr Builtin plain(std::string_view name) {
  return {name, "", [](Call& call) -> Value { return kHolds(call.self); }};
}

constexpr auto kIsNone = [](const Value& v) { return v.is_none(); };
constexpr auto kIsDefined = [](const Value& v) { return !v.is_undefined(); };
constexpr auto kIsUndefined = [](const Value& v) { return v.is_undefined(); };
constexpr auto kIsBoolean = [](const Value& v) { return v.is<bool>(); };
constexpr auto kIsTrue = [](const Value& v) { return v.is<bool>() && *v.get<bool>(); };
constexpr auto kIsFalse = [](const Value& v) { return v.is<bool>() && !*v.get<bool>(); };
constexpr auto kIsInteger = [](const Value& v) { return v.is<int64_t>(); };
constexpr auto kIsFloat = [](const Value& v) { return v.is<double>(); };
constexpr auto kIsNumber = [](const Value& v) { return v.is_number(); };
constexpr auto kIsString = [](const Value& v) { return v.is_text(); };
constexpr auto kIsMapping = [](const Value& v) { return v.dict() != nullptr; };
constexpr auto kIsCallable = [](const Value& v) { return v.is_callable(); };
constexpr auto kIsSequence = [](const Value& v) { return v.is_undefined() || v.is_text() || v.list() || v.dict(); };
constexpr auto kNever = [](const Value&) { return false; };

constexpr Builtin kTests[] = {
    plain<kIsDefined>("defined"),
    plain<kIsUndefined>("undefined"),
    plain<kIsNone>("none"),
    plain<kIsBoolean>("boolean"),
    plain<kIsTrue>("true"),
    plain<kIsFalse>("false"),
    plain<kIsInteger>("integer"),
    plain<kIsFloat>("float"),
    plain<kIsNumber>("number"),
    plain<kIsString>("string"),
    plain<kIsMapping>("mapping"),
    plain<kIsSequence>("sequence"),
    plain<kIsSequence>("iterable"),
    plain<kIsCallable>("callable"),
    plain<kNever>("escaped"),
    {"odd", "", [](Call& call) -> Value { return equal(call.in, remainder(call, 2), 1); }},
    {"even", "", [](Call& call) -> Value { return equal(call.in, remainder(call, 2), 0); }},
    {"divisibleby", "num", [](Call& call) -> Value { return equal(call.in, remainder(call, *call.arg(0)), 0); }},
    {"lower", "", [](Call& call) { return has_case(call, "islower"); }},
    {"upper", "", [](Call& call) { return has_case(call, "isupper"); }},
    {"sameas", "other", [](Call& call) -> Value { return is_same(call.self, *call.arg(0)); }},
    {"in", "seq", compares<Comparison::in>},
    {"filter", "", [](Call& call) -> Value { return call.self.is_text() && find_filter(call.self.bytes()); }},
    {"test", "", [](Call& call) -> Value { return call.self.is_text() && find_test(call.self.bytes()); }},
    {"==", "other", compares<Comparison::equal>},
    {"eq", "other", compares<Comparison::equal>},
    {"equalto", "other", compares<Comparison::equal>},
    {"!=", "other", compares<Comparison::not_equal>},
    {"ne", "other", compares<Comparison::not_equal>},
    {">", "other", compares<Comparison::greater>},
    {"gt", "other", compares<Comparison::greater>},
    {"greaterthan", "other", compares<Comparison::greater>},
    {">=", "other", compares<Comparison::greater_equal>},
    {"ge", "other", compares<Comparison::greater_equal>},
    {"<", "other", compares<Comparison::less>},
    {"lt", "other", compares<Comparison::less>},
    {"lessthan", "other", compares<Comparison::less>},
    {"<=", "other", compares<Comparison::less_equal>},
    {"le", "other", compares<Comparison::less_equal>},
};

}  // namespace

std::span<const Builtin> tests() { return kTests; }

}  // namespace packhorse::jinja
