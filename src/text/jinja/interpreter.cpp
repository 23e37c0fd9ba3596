#include "text/jinja/interpreter.h"

#include <algorithm>
#include <limits>

namespace packhorse::jinja {

Interpreter::Interpreter(const Program& program, const TemplateLimits& limits, const nlohmann::ordered_json& variables)
    : budget_(limits), heap_(budget_), program_(program), max_nesting_(limits.max_depth * kLevel) {
  globals_.reserve(program.names.size());
  for (const std::string& name : program.names) {
    if (const Builtin* function = find_function(name))
      globals_.emplace_back(function);
    else
      globals_.push_back(undefined(fmt::format("'{}' is undefined", printable(name))));
  }
  if (!variables.is_object()) return;
  std::unordered_map<std::string_view, size_t> ids;
  for (size_t i = 0; i < program.names.size(); ++i) ids.emplace(program.names[i], i);
  for (const auto& [name, value] : variables.items()) {
    if (const auto it = ids.find(name); it != ids.end()) globals_[it->second] = from_json(value);
  }
}

std::string Interpreter::run() {
  std::string rendered;
  out_ = &rendered;
  execute(program_.body);
  return rendered;
}

Value Interpreter::evaluate(const Expr& node) {
  budget_.step();
  const Nesting nesting(*this, kNode);
  return node.evaluate(*this);
}

Flow Interpreter::execute(const Body& body) {
  const Nesting nesting(*this, kNode);
  for (const auto& statement : body) {
    budget_.step();
    if (const Flow flow = statement->execute(*this); flow != Flow::next) return flow;
  }
  return Flow::next;
}

void Interpreter::write(std::string_view text) {
  budget_.check_text(out_->size() + text.size());
  budget_.scan_bytes(text.size());
  budget_.take_memory(text.size());
  *out_ += text;
}

void Interpreter::too_deep() const { Budget::exceeded("levels of nesting", budget_.limits().max_depth); }

Value Interpreter::undefined(std::string why) {
  return Undefined{std::make_shared<const Text>(std::move(why), &budget_)};
}

void Interpreter::require_defined(const Value& value) const {
  const Undefined* missing = value.get<Undefined>();
  if (missing) fail("{}", missing->why ? missing->why->bytes : "value is undefined");
}

Interpreter::ScopeGuard::ScopeGuard(Interpreter& interpreter, Scope* parent) : in(interpreter), outer(in.scope_) {
  if (in.free_scopes_.empty()) in.free_scopes_.push_back(in.heap_.make<Scope>());
  in.scope_ = in.free_scopes_.back();
  in.free_scopes_.pop_back();
  in.scope_->parent = parent;
}

Interpreter::ScopeGuard::~ScopeGuard() {
  if (!in.scope_->kept) {
    in.scope_->variables.clear();
    in.free_scopes_.push_back(in.scope_);
  }
  in.scope_ = outer;
}

void Interpreter::keep_scopes(Scope* innermost) {
  for (Scope* scope = innermost; scope && !scope->kept; scope = scope->parent) scope->kept = true;
}

Value Interpreter::lookup(NameId id) const {
  for (const Scope* scope = scope_; scope; scope = scope->parent) {
    for (const auto& [name, value] : scope->variables) {
      if (name == id) return value;
    }
  }
  return globals_[static_cast<size_t>(id)];
}

void Interpreter::assign(NameId id, Value value) {
  if (!scope_) {
    globals_[static_cast<size_t>(id)] = std::move(value);
    return;
  }
  for (auto& [name, old] : scope_->variables) {
    if (name == id) {
      old = std::move(value);
      return;
    }
  }
  budget_.take_memory(sizeof(scope_->variables[0]));
  scope_->variables.emplace_back(id, std::move(value));
}

Value Interpreter::from_json(const nlohmann::ordered_json& json) {
  using Type = nlohmann::ordered_json::value_t;
  const Nesting nesting(*this);
  switch (json.type()) {
    case Type::boolean:
      return json.get<bool>();
    case Type::number_integer:
      return json.get<int64_t>();
    case Type::number_unsigned: {
      const auto number = json.get<uint64_t>();
      if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return static_cast<double>(number);
      return static_cast<int64_t>(number);
    }
    case Type::number_float:
      return json.get<double>();
    case Type::string:
      return TextPtr(std::make_shared<const Text>(json.get_ref<const std::string&>(), &budget_));
    case Type::array: {
      List* list = heap_.list();
      for (const auto& item : json) heap_.append(*list, from_json(item));
      return list;
    }
    case Type::object: {
      Dict* dict = heap_.make<Dict>();
      for (const auto& [key, value] : json.items()) {
        heap_.set(*dict, TextPtr(std::make_shared<const Text>(key, &budget_)), from_json(value));
      }
      return dict;
    }
    case Type::null:
    case Type::binary:
    case Type::discarded:
      break;
  }
  return None{};
}

Value Interpreter::call(const Value& callee, Args args) {
  require_defined(callee);
  if (++calls_ > budget_.limits().max_depth) too_deep();
  struct Leave {
    ~Leave() { --calls; }
    int& calls;
  } const leave{calls_};
  if (const auto* function = callee.get<const Builtin*>())
    return run_builtin(*this, **function, None{}, std::move(args));
  if (const auto* method = callee.get<Method*>()) {
    return run_builtin(*this, *(*method)->builtin, (*method)->self, std::move(args));
  }
  if (const auto* macro = callee.get<Macro*>()) return run_macro(**macro, std::move(args));
  if (const auto* loop = callee.get<Loop*>()) {
    const Loop& outer = **loop;
    if (!outer.node->recursive) fail("the loop is not recursive");
    if (args.positional.size() != 1 || !args.named.empty()) fail("loop() takes one argument");
    return capture([&] { run_loop(*outer.node, outer.outer, args.positional[0], outer.depth + 1); });
  }
  fail("'{}' object is not callable", type_name(callee));
}

Value Interpreter::run_macro(const Macro& macro, Args args) {
  return in_scope(macro.scope, [&] {
    bind_arguments(*macro.definition, args);
    return capture([&] { execute(macro.definition->body); });
  });
}

void Interpreter::bind_arguments(const MacroDefinition& definition, Args& args) {
  const auto take_named = [&](std::string_view name) -> std::optional<Value> {
    const auto it =
        std::find_if(args.named.begin(), args.named.end(), [&](const auto& arg) { return arg.first == name; });
    if (it == args.named.end()) return std::nullopt;
    std::optional<Value> value = std::move(it->second);
    args.named.erase(it);
    return value;
  };
  size_t n_positional = 0;
  for (const Parameter& parameter : definition.parameters) {
    if (n_positional < args.positional.size()) {
      assign(parameter.id, args.positional[n_positional++]);
    } else if (std::optional<Value> value = take_named(parameter.name)) {
      assign(parameter.id, std::move(*value));
    } else if (parameter.fallback) {
      assign(parameter.id, evaluate(*parameter.fallback));
    } else {
      assign(parameter.id, undefined(fmt::format("parameter '{}' was not provided", printable(parameter.name))));
    }
  }
  if (definition.caller != kNoName) {
    std::optional<Value> caller = take_named("caller");
    assign(definition.caller, caller ? std::move(*caller) : undefined("No caller defined"));
  }
  if (definition.kwargs != kNoName) {
    Dict* kwargs = heap_.make<Dict>();
    for (auto& [name, value] : args.named) heap_.set(*kwargs, text(name), std::move(value));
    args.named.clear();
    assign(definition.kwargs, kwargs);
  }
  if (definition.varargs != kNoName) {
    const auto first = args.positional.begin() + static_cast<std::ptrdiff_t>(n_positional);
    assign(definition.varargs, heap_.tuple({first, args.positional.end()}));
  } else if (n_positional < args.positional.size()) {
    fail("macro '{}' takes not more than {} arguments (got {})", printable(definition.name),
         definition.parameters.size(), args.positional.size());
  }
  if (!args.named.empty()) {
    fail("macro '{}' takes no keyword argument '{}'", printable(definition.name), printable(args.named[0].first));
  }
}

}  // namespace packhorse::jinja
