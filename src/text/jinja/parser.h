#pragma once
// Recursive descent over the tokens of a template, with the precedences of Jinja 3:
//   or < and < not < comparisons, in < + - < ~ < * / // % < ** < unary < filters and tests < calls and subscripts

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/jinja/ast.h"

namespace packhorse::jinja {

/// Heights of nodes that may be missing; the largest of several.
inline int height_of(const ExprPtr& node) { return node ? node->height : 0; }

template <class Pairs>
int second_height(const Pairs& pairs) {
  int height = 0;
  for (const auto& pair : pairs) height = std::max(height, height_of(pair.second));
  return height;
}

inline int height_of(const std::vector<ExprPtr>& nodes) {
  int height = 0;
  for (const ExprPtr& node : nodes) height = std::max(height, height_of(node));
  return height;
}

class Parser {
 public:
  Parser(std::string_view source, const TemplateLimits& limits);

  /// Throws Error{model} with line and column.
  Program parse();

 private:
  struct Nesting;
  using Names = std::initializer_list<std::string_view>;

  // parser_statements.cpp
  Body body_until(Names end_tags);
  Body block_body(Names end_tags);
  void end_block();
  std::unique_ptr<Stmt> statement();
  std::unique_ptr<Stmt> if_statement();
  std::unique_ptr<Stmt> for_statement();
  std::unique_ptr<Stmt> set_statement();
  std::unique_ptr<Stmt> with_statement();
  std::unique_ptr<Stmt> generation_block();
  std::unique_ptr<Stmt> macro_statement();
  std::unique_ptr<Stmt> call_block();
  std::unique_ptr<Stmt> filter_block();
  std::unique_ptr<Stmt> do_statement();
  std::unique_ptr<Stmt> loop_control();
  void parameters(MacroDefinition& definition);
  void macro_body(MacroDefinition& definition, std::string_view end_tag);
  Target target(bool with_attribute);
  Target single_target(bool with_attribute);
  std::vector<std::unique_ptr<FilterExpr>> filter_chain(bool starts_inline);

  // parser_expressions.cpp: what operators join
  ExprPtr expression(bool with_conditional = true);
  ExprPtr tuple_or_expression(bool with_conditional = true);
  ExprPtr or_expression();
  ExprPtr and_expression();
  ExprPtr not_expression();
  ExprPtr comparison();
  ExprPtr binary(int level);
  ExprPtr unary(bool with_filters);

  // parser_operands.cpp: literals, names, and what follows them
  ExprPtr primary();
  ExprPtr parenthesized();
  ExprPtr list_literal();
  ExprPtr dict_literal();
  ExprPtr postfix(ExprPtr node);
  ExprPtr filters_and_tests(ExprPtr node);
  ExprPtr subscript(ExprPtr object);
  ExprPtr call(ExprPtr callee);
  ExprPtr test(ExprPtr object);
  std::unique_ptr<FilterExpr> filter(ExprPtr object);
  Arguments arguments();

  template <class Node>
  std::unique_ptr<Node> finish(std::unique_ptr<Node> node, Position at, std::initializer_list<int> heights);
  template <class Node>
  std::unique_ptr<Node> make_statement(Position at) const;

  Token take();
  Token expect(TokenType type);
  void expect_op(std::string_view op);
  void expect_name(std::string_view name);
  bool skip_op(std::string_view op);
  bool skip_name(std::string_view name);
  [[noreturn]] void unexpected(std::string_view expected) const;
  NameId intern(const std::string& name);
  TextPtr literal_text(std::string text) const;
  [[noreturn]] void too_deep(Position at) const;

  const TemplateLimits limits_;
  Lexer lexer_;
  Token current_, ahead_;
  Program program_;
  std::unordered_map<std::string, NameId> ids_;
  std::vector<MacroDefinition*> macros_;  // around the current token, the innermost last
  int depth_ = 0;
  int loops_ = 0;       // around the current token, within the same macro
  int conditions_ = 0;  // around the current token: it may never be evaluated
};

template <class Node>
std::unique_ptr<Node> Parser::finish(std::unique_ptr<Node> node, Position at, std::initializer_list<int> heights) {
  for (const int height : heights) node->height = std::max(node->height, height + 1);
  if (node->height > limits_.max_depth) too_deep(at);
  node->at = at;
  return node;
}

template <class Node>
std::unique_ptr<Node> Parser::make_statement(Position at) const {
  auto node = std::make_unique<Node>();
  node->at = at;
  return node;
}

/// Counts the recursion of the parser.
struct Parser::Nesting {
  explicit Nesting(Parser& p) : parser(p) {
    if (++parser.depth_ > parser.limits_.max_depth) parser.too_deep(parser.current_.at);
  }
  ~Nesting() { --parser.depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;
  Parser& parser;
};

}  // namespace packhorse::jinja
