#pragma once
// State of one render, and what expressions, statements and builtins ask of it.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/builtins.h"
#include "text/jinja/value.h"

namespace packhorse::jinja {

/// Variables of a block with names of its own. Lookups go outwards; assignments stay.
struct Scope final : Object {
  Scope* parent = nullptr;  // null: the variables of the whole template
  bool kept = false;        // something may look up names here after the block has ended
  std::vector<std::pair<NameId, Value>> variables;
};

struct Macro final : Object {
  const MacroDefinition* definition = nullptr;
  Scope* scope = nullptr;  // where it was written
};

/// The variable `loop`. Items that a condition selects are found only when asked for, since the body may change what
/// the condition sees.
struct Loop final : Object {
  const For* node = nullptr;
  Scope* outer = nullptr;
  List* source = nullptr;
  List* items = nullptr;  // those selected so far; the source itself when there is no condition
  size_t scanned = 0;     // of the source
  size_t round = 0;
  int64_t depth = 0;  // of recursion
  Value changed;      // arguments of the last changed()
  bool changed_once = false;

  /// Whether there is an item `i`.
  bool has(Interpreter& in, size_t i);
  int64_t length(Interpreter& in);
};

class Interpreter {
 public:
  Interpreter(const Program& program, const TemplateLimits& limits, const nlohmann::ordered_json& variables);

  std::string run();

  Value evaluate(const Expr& node);
  Flow execute(const Body& body);
  /// What `run` prints, as a string.
  template <class Run>
  Value capture(Run run);
  void write(std::string_view text);

  // Names
  Value lookup(NameId id) const;
  void assign(NameId id, Value value);
  /// Runs with a scope inside `parent`.
  template <class Run>
  auto in_scope(Scope* parent, Run run);
  Scope* scope() const { return scope_; }
  /// Scopes are used again once their block ends, unless a macro or a loop may still refer to them.
  static void keep_scopes(Scope* innermost);

  // Python's protocols (access.cpp)
  Value attribute(const Value& object, const TextPtr& name);
  Value subscript(const Value& object, const Value& key);
  Value slice(const Value& object, const Value& start, const Value& stop, const Value& step);
  Value call(const Value& callee, Args args);
  Value run_macro(const Macro& macro, Args args);
  Flow run_loop(const For& node, Scope* outer, const Value& iterable, int64_t depth);
  /// Elements; the list itself when it is one. Throws when the value is not iterable.
  List* iterate(const Value& value);
  bool is_iterable(const Value& value) const;
  bool truth(const Value& value) const;
  int64_t length(const Value& value);
  Value undefined(std::string why);

  // Values
  Heap& heap() { return heap_; }
  Budget& budget() { return budget_; }
  Value text(std::string bytes) { return heap_.text(std::move(bytes)); }
  Value from_json(const nlohmann::ordered_json& json);

  /// Where errors are reported; builtins run at the position of their call.
  Position at;
  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    packhorse::fail(ErrorKind::request, "chat template: line {}, column {}: {}", at.line, at.column,
                    fmt::format(format, std::forward<Args>(args)...));
  }
  /// Throws what an undefined value has to say.
  void require_defined(const Value& value) const;

  /// Bounds every recursion at run time, and with it the native stack. A call may nest a whole expression, so nodes
  /// weigh less than levels of nested values.
  static constexpr int kNode = 1, kLevel = 8;
  class Nesting {
   public:
    explicit Nesting(Interpreter& in, int weight = kLevel) : in_(in), weight_(weight) {
      if ((in_.nesting_ += weight_) > in_.max_nesting_) in_.too_deep();
    }
    ~Nesting() { in_.nesting_ -= weight_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    Interpreter& in_;
    int weight_;
  };

 private:
  [[noreturn]] void too_deep() const;
  void bind_arguments(const MacroDefinition& definition, Args& args);
  Value loop_attribute(Loop& loop, std::string_view name);
  Value text_slice(const Text& text, int64_t start, int64_t step, size_t count);

  struct ScopeGuard;
  struct CaptureGuard;

  Budget budget_;
  Heap heap_;
  const Program& program_;
  std::vector<Value> globals_;  // by NameId
  Scope* scope_ = nullptr;      // null at the top of the template
  std::vector<Scope*> free_scopes_;
  std::string* out_ = nullptr;
  int nesting_ = 0, max_nesting_ = 0;
  int calls_ = 0;
};

struct Interpreter::ScopeGuard {
  ScopeGuard(Interpreter& interpreter, Scope* parent);
  ~ScopeGuard();
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;
  Interpreter& in;
  Scope* outer;
};

struct Interpreter::CaptureGuard {
  explicit CaptureGuard(Interpreter& interpreter) : in(interpreter), outer(std::exchange(in.out_, &buffer)) {}
  ~CaptureGuard() {
    in.out_ = outer;
    in.budget_.give_memory(buffer.size());
  }
  CaptureGuard(const CaptureGuard&) = delete;
  CaptureGuard& operator=(const CaptureGuard&) = delete;
  Interpreter& in;
  std::string buffer;
  std::string* outer;
};

template <class Run>
Value Interpreter::capture(Run run) {
  std::string printed;
  {
    CaptureGuard guard(*this);
    run();
    budget_.give_memory(guard.buffer.size());
    printed = std::move(guard.buffer);
    guard.buffer.clear();
  }
  return text(std::move(printed));
}

template <class Run>
auto Interpreter::in_scope(Scope* parent, Run run) {
  const ScopeGuard guard(*this, parent);
  return run();
}

/// Collects a string within the budget.
class TextBuilder {
 public:
  explicit TextBuilder(Interpreter& in) : in_(in) {}
  TextBuilder& operator<<(std::string_view part) {
    in_.budget().check_text(bytes_.size() + part.size());
    bytes_ += part;
    return *this;
  }
  TextBuilder& operator<<(char c) { return *this << std::string_view(&c, 1); }
  TextBuilder& repeat(std::string_view part, size_t n) {
    if (part.empty() || n == 0) return *this;
    in_.budget().check_text(n);
    in_.budget().check_text(bytes_.size() + part.size() * n);
    in_.budget().scan_bytes(part.size() * n);
    if (part.size() == 1)
      bytes_.append(n, part[0]);
    else
      for (size_t i = 0; i < n; ++i) bytes_ += part;
    return *this;
  }
  size_t size() const { return bytes_.size(); }
  const std::string& bytes() const { return bytes_; }
  std::string take() { return std::move(bytes_); }
  Value value() { return in_.text(std::move(bytes_)); }

 private:
  Interpreter& in_;
  std::string bytes_;
};

}  // namespace packhorse::jinja
