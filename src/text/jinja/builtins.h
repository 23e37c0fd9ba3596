#pragma once
// The filters, tests, methods and functions a template can reach: closed tables, nothing else exists.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace packhorse::jinja {

class Interpreter;

/// Arguments as written at a call.
struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// One call of a builtin, with the arguments in the order of its parameters.
struct Call {
  Interpreter& in;
  const Builtin& builtin;
  const Value& self;  // what a filter or test is applied to, the object of a method
  std::vector<std::optional<Value>> values;
  Args rest;  // of a variadic builtin

  /// Null when not given.
  const Value* arg(size_t i) const { return values[i] ? &*values[i] : nullptr; }
  /// As `arg`, and null for none.
  const Value* given(size_t i) const { return values[i] && !values[i]->is_none() ? &*values[i] : nullptr; }
  Value value(size_t i, const Value& fallback) const { return values[i] ? *values[i] : fallback; }
  int64_t integer(size_t i, int64_t fallback) const;
  bool truth(size_t i, bool fallback) const;
  /// str() of an argument that was given.
  std::string string(size_t i) const;
  /// Bytes of an argument that has to be a string.
  std::string_view text(size_t i) const;
  std::string_view text(size_t i, std::string_view fallback) const { return arg(i) ? text(i) : fallback; }
};

struct Builtin {
  std::string_view name;
  std::string_view parameters;  // "a,b,c"; those before ';' are required; "*" takes all others
  Value (*run)(Call& call);
};

/// Binds the arguments to the parameters and runs. Throws on missing, surplus and unknown ones.
Value run_builtin(Interpreter& in, const Builtin& builtin, const Value& self, Args args);

/// Null when there is none of the name.
const Builtin* find_filter(std::string_view name);
const Builtin* find_test(std::string_view name);
const Builtin* find_function(std::string_view name);
/// Methods of strings, lists, tuples, dicts, namespaces and loops.
const Builtin* find_method(const Value& self, std::string_view name);

// Parts of the tables.
std::span<const Builtin> text_filters();
std::span<const Builtin> sequence_filters();
std::span<const Builtin> selection_filters();
std::span<const Builtin> value_filters();
std::span<const Builtin> tests();
std::span<const Builtin> functions();
std::span<const Builtin> text_methods();
std::span<const Builtin> text_predicates();
std::span<const Builtin> list_methods();
std::span<const Builtin> tuple_methods();
std::span<const Builtin> dict_methods();
std::span<const Builtin> loop_methods();

}  // namespace packhorse::jinja
