#pragma once
// Syntax tree of a template. Nodes evaluate themselves (expressions.cpp, statements.cpp); a tree is immutable and may
// be rendered by several threads at once.

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/lexer.h"
#include "text/jinja/value.h"

namespace packhorse::jinja {

class Interpreter;
struct Args;

/// Index into Program::names.
using NameId = int;
constexpr NameId kNoName = -1;

struct Expr {
  Expr() = default;
  virtual ~Expr() = default;
  Expr(const Expr&) = delete;
  Expr& operator=(const Expr&) = delete;
  virtual Value evaluate(Interpreter& in) const = 0;

  Position at;
  int height = 1;  // of the tree below; the parser bounds it, since evaluation and destruction recurse
};
using ExprPtr = std::unique_ptr<Expr>;

struct Literal final : Expr {
  Value value;
  Value evaluate(Interpreter& in) const override;
};

struct Name final : Expr {
  NameId id = kNoName;
  Value evaluate(Interpreter& in) const override;
};

/// [a, b] and (a, b).
struct Sequence final : Expr {
  List::Form form = List::Form::list;
  std::vector<ExprPtr> items;
  Value evaluate(Interpreter& in) const override;
};

struct DictLiteral final : Expr {
  std::vector<std::pair<ExprPtr, ExprPtr>> items;
  Value evaluate(Interpreter& in) const override;
};

/// object.name
struct Attribute final : Expr {
  ExprPtr object;
  TextPtr name;
  Value evaluate(Interpreter& in) const override;
};

/// object[key]
struct Subscript final : Expr {
  ExprPtr object, key;
  Value evaluate(Interpreter& in) const override;
};

/// object[start:stop:step]; each bound may be null.
struct Slice final : Expr {
  ExprPtr object, start, stop, step;
  Value evaluate(Interpreter& in) const override;
};

struct Arguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr rest, named_rest;  // *rest, **named_rest; may be null

  Args evaluate(Interpreter& in) const;
  int height() const;
};

struct CallExpr final : Expr {
  ExprPtr callee;
  Arguments arguments;
  Value evaluate(Interpreter& in) const override;
  /// `caller` is the body of a call block, or null.
  Value evaluate_with(Interpreter& in, Macro* caller) const;
};

struct FilterExpr final : Expr {
  ExprPtr object;                   // null in filter blocks: the text of the body
  const Builtin* filter = nullptr;  // null: unknown, an error once it is reached
  std::string name;
  Arguments arguments;
  Value evaluate(Interpreter& in) const override;
  Value apply(Interpreter& in, const Value& self) const;
};

struct TestExpr final : Expr {
  ExprPtr object;
  const Builtin* test = nullptr;  // as with filters
  std::string name;
  bool negated = false;
  Arguments arguments;
  Value evaluate(Interpreter& in) const override;
};

enum class Operator : uint8_t { add, subtract, multiply, divide, floor_divide, modulo, power, join };

struct Binary final : Expr {
  Operator op = Operator::add;
  ExprPtr left, right;
  Value evaluate(Interpreter& in) const override;
};

enum class Comparison : uint8_t { equal, not_equal, less, less_equal, greater, greater_equal, in, not_in };

/// a < b <= c: true when all hold; later operands are evaluated only as long as they do.
struct Compare final : Expr {
  ExprPtr first;
  std::vector<std::pair<Comparison, ExprPtr>> rest;
  Value evaluate(Interpreter& in) const override;
};

/// and, or: the value of the operand that decides.
struct Logic final : Expr {
  bool is_and = false;
  ExprPtr left, right;
  Value evaluate(Interpreter& in) const override;
};

struct Unary final : Expr {
  enum class Op : uint8_t { minus, plus, logical_not } op = Op::minus;
  ExprPtr operand;
  Value evaluate(Interpreter& in) const override;
};

/// value if condition else otherwise; undefined when `otherwise` is null and the condition fails.
struct Conditional final : Expr {
  ExprPtr condition, value, otherwise;
  Value evaluate(Interpreter& in) const override;
};

/// What a statement tells the loop around it.
enum class Flow : uint8_t { next, end_round, end_loop };

struct Stmt {
  Stmt() = default;
  virtual ~Stmt() = default;
  Stmt(const Stmt&) = delete;
  Stmt& operator=(const Stmt&) = delete;
  virtual Flow execute(Interpreter& in) const = 0;

  Position at;
};
using Body = std::vector<std::unique_ptr<Stmt>>;

/// a, (a, (b, c)), namespace.attribute
struct Target {
  Position at;
  NameId name = kNoName;
  std::string attribute;      // set on the namespace `name`, when not empty
  std::vector<Target> parts;  // unpacked, when `name` is kNoName
  void assign(Interpreter& in, const Value& value) const;
};

struct Print final : Stmt {
  ExprPtr value;
  Flow execute(Interpreter& in) const override;
};

struct PrintText final : Stmt {
  std::string text;
  Flow execute(Interpreter& in) const override;
};

struct If final : Stmt {
  std::vector<std::pair<ExprPtr, Body>> branches;
  Body otherwise;
  Flow execute(Interpreter& in) const override;
};

struct For final : Stmt {
  Target target;
  ExprPtr iterable, condition;  // the condition may be null
  bool recursive = false;
  NameId loop = kNoName;
  Body body, otherwise;
  Flow execute(Interpreter& in) const override;
};

struct LoopControl final : Stmt {
  Flow flow = Flow::next;
  Flow execute(Interpreter& in) const override;
};

struct Set final : Stmt {
  Target target;
  ExprPtr value;
  Flow execute(Interpreter& in) const override;
};

/// {% set x | filter %} body {% endset %}
struct SetBlock final : Stmt {
  Target target;
  std::vector<std::unique_ptr<FilterExpr>> filters;
  Body body;
  Flow execute(Interpreter& in) const override;
};

struct FilterBlock final : Stmt {
  std::vector<std::unique_ptr<FilterExpr>> filters;
  Body body;
  Flow execute(Interpreter& in) const override;
};

/// {% with a = 1 %}, and with no variables {% generation %}.
struct With final : Stmt {
  std::vector<std::pair<Target, ExprPtr>> variables;
  Body body;
  Flow execute(Interpreter& in) const override;
};

struct Parameter {
  NameId id = kNoName;
  std::string name;
  ExprPtr fallback;  // may be null
};

/// Macros and the bodies of call blocks.
struct MacroDefinition {
  std::string name;
  std::vector<Parameter> parameters;
  Body body;
  // Names that the body mentions and so asks for; kNoName when it does not.
  NameId varargs = kNoName, kwargs = kNoName, caller = kNoName;
};

struct MacroStmt final : Stmt {
  NameId id = kNoName;
  MacroDefinition definition;
  Flow execute(Interpreter& in) const override;
};

struct CallBlock final : Stmt {
  std::unique_ptr<CallExpr> call;
  MacroDefinition definition;
  Flow execute(Interpreter& in) const override;
};

/// {% do expression %}
struct Evaluate final : Stmt {
  ExprPtr value;
  Flow execute(Interpreter& in) const override;
};

struct Program {
  Body body;
  std::vector<std::string> names;
};

}  // namespace packhorse::jinja
