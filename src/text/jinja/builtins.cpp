#include "text/jinja/builtins.h"

#include <algorithm>
#include <iterator>

#include "text/jinja/interpreter.h"
#include "text/jinja/python_text.h"

namespace packhorse::jinja {
namespace {

const Builtin* find_in(std::span<const Builtin> table, std::string_view name) {
  const auto it = std::find_if(table.begin(), table.end(), [&](const Builtin& row) { return row.name == name; });
  return it == table.end() ? nullptr : &*it;
}

const Builtin* find_in(std::initializer_list<std::span<const Builtin>> tables, std::string_view name) {
  for (const auto& table : tables) {
    if (const Builtin* found = find_in(table, name)) return found;
  }
  return nullptr;
}

struct Parameters {
  std::vector<std::string_view> names;
  size_t n_required = 0;
  bool variadic = false;
};

/// Reads "a,b;c,*".
Parameters parse_parameters(std::string_view text) {
  Parameters out;
  const bool has_optional = text.find(';') != std::string_view::npos;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(",;"), text.size());
    const std::string_view name = text.substr(0, end);
    if (name == "*")
      out.variadic = true;
    else if (!name.empty())
      out.names.push_back(name);
    if (end < text.size() && text[end] == ';') out.n_required = out.names.size();
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (!has_optional) out.n_required = out.names.size();
  return out;
}

void bind_named(Interpreter& in, const Parameters& parameters, Call& call, Args& args) {
  for (auto& [name, value] : args.named) {
    const auto it = std::find(parameters.names.begin(), parameters.names.end(), name);
    if (it == parameters.names.end()) {
      if (!parameters.variadic) in.fail("{}() has no argument '{}'", call.builtin.name, printable(name));
      call.rest.named.emplace_back(name, std::move(value));
      continue;
    }
    std::optional<Value>& slot = call.values[static_cast<size_t>(it - parameters.names.begin())];
    if (slot) in.fail("{}() got several values for argument '{}'", call.builtin.name, name);
    slot = std::move(value);
  }
}

}  // namespace

int64_t Call::integer(size_t i, int64_t fallback) const {
  const Value* value = arg(i);
  if (!value) return fallback;
  in.require_defined(*value);
  if (!value->is_integer()) in.fail("{}() needs an integer, got '{}'", builtin.name, type_name(*value));
  return value->integer();
}

bool Call::truth(size_t i, bool fallback) const { return arg(i) ? in.truth(*arg(i)) : fallback; }

std::string Call::string(size_t i) const { return to_text(in, *arg(i)); }

std::string_view Call::text(size_t i) const {
  in.require_defined(*arg(i));
  if (!arg(i)->is_text()) in.fail("{}() needs a string, got '{}'", builtin.name, type_name(*arg(i)));
  return arg(i)->bytes();
}

Value run_builtin(Interpreter& in, const Builtin& builtin, const Value& self, Args args) {
  const Parameters parameters = parse_parameters(builtin.parameters);
  Call call{.in = in, .builtin = builtin, .self = self, .values = {}, .rest = {}};
  call.values.resize(parameters.names.size());
  for (size_t i = 0; i < args.positional.size(); ++i) {
    if (i < call.values.size()) {
      call.values[i] = std::move(args.positional[i]);
    } else if (parameters.variadic) {
      call.rest.positional.push_back(std::move(args.positional[i]));
    } else {
      in.fail("{}() takes at most {} arguments (got {})", builtin.name, call.values.size(), args.positional.size());
    }
  }
  bind_named(in, parameters, call, args);
  for (size_t i = 0; i < parameters.n_required; ++i) {
    if (!call.values[i]) in.fail("{}() needs the argument '{}'", builtin.name, parameters.names[i]);
  }
  return builtin.run(call);
}

const Builtin* find_filter(std::string_view name) {
  return find_in({text_filters(), sequence_filters(), selection_filters(), value_filters()}, name);
}

const Builtin* find_test(std::string_view name) { return find_in(tests(), name); }

const Builtin* find_function(std::string_view name) { return find_in(functions(), name); }

const Builtin* find_method(const Value& self, std::string_view name) {
  if (self.is_text()) return find_in({text_methods(), text_predicates()}, name);
  if (self.dict()) return find_in(dict_methods(), name);
  if (self.list()) return find_in(self.list()->form == List::Form::list ? list_methods() : tuple_methods(), name);
  return nullptr;
}

}  // namespace packhorse::jinja
