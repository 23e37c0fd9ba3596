#include <algorithm>
#include <utility>

#include "text/jinja/parser.h"

namespace packhorse::jinja {

Parser::Parser(std::string_view source, const TemplateLimits& limits)
    : limits_(limits), lexer_(source, limits.max_depth) {
  current_ = lexer_.next();
  ahead_ = lexer_.next();
}

Program Parser::parse() {
  program_.body = body_until({});
  return std::move(program_);
}

Token Parser::take() { return std::exchange(current_, std::exchange(ahead_, lexer_.next())); }

Token Parser::expect(TokenType type) {
  if (!current_.is(type)) unexpected(Token{.type = type, .text = "name", .at = {}}.describe());
  return take();
}

void Parser::expect_op(std::string_view op) {
  if (!skip_op(op)) unexpected(fmt::format("'{}'", op));
}

void Parser::expect_name(std::string_view name) {
  if (!skip_name(name)) unexpected(fmt::format("'{}'", name));
}

bool Parser::skip_op(std::string_view op) {
  const bool here = current_.is_op(op);
  if (here) take();
  return here;
}

bool Parser::skip_name(std::string_view name) {
  const bool here = current_.is_name(name);
  if (here) take();
  return here;
}

void Parser::unexpected(std::string_view expected) const {
  fail_syntax(current_.at, "expected {}, got {}", expected, current_.describe());
}

void Parser::too_deep(Position at) const {
  fail_model("chat template exceeded its budget (line {}, column {}: nesting deeper than {})", at.line, at.column,
             limits_.max_depth);
}

NameId Parser::intern(const std::string& name) {
  const auto [it, is_new] = ids_.emplace(name, static_cast<NameId>(program_.names.size()));
  if (is_new) program_.names.push_back(name);
  for (MacroDefinition* macro : macros_) {
    if (name == "varargs") macro->varargs = it->second;
    if (name == "kwargs") macro->kwargs = it->second;
    if (name == "caller") macro->caller = it->second;
  }
  return it->second;
}

TextPtr Parser::literal_text(std::string text) const { return std::make_shared<const Text>(std::move(text), nullptr); }

/// Stops after the "{%" of one of the end tags, or at the end of the template when there are none.
Body Parser::body_until(Names end_tags) {
  const Nesting nesting(*this);
  Body body;
  while (!current_.is(TokenType::end)) {
    const Position at = current_.at;
    if (current_.is(TokenType::data)) {
      auto text = make_statement<PrintText>(at);
      text->text = take().text;
      body.push_back(std::move(text));
    } else if (current_.is(TokenType::variable_begin)) {
      take();
      auto print = make_statement<Print>(at);
      print->value = tuple_or_expression();
      expect(TokenType::variable_end);
      body.push_back(std::move(print));
    } else {
      expect(TokenType::block_begin);
      const bool at_end_tag =
          std::any_of(end_tags.begin(), end_tags.end(), [&](std::string_view tag) { return current_.is_name(tag); });
      if (at_end_tag) return body;
      body.push_back(statement());
      end_block();
    }
  }
  if (end_tags.size() != 0) unexpected(fmt::format("'{}'", *(end_tags.end() - 1)));
  return body;
}

Body Parser::block_body(Names end_tags) {
  skip_op(":");
  end_block();
  return body_until(end_tags);
}

void Parser::end_block() { expect(TokenType::block_end); }

std::unique_ptr<Stmt> Parser::statement() {
  using Parse = std::unique_ptr<Stmt> (Parser::*)();
  static constexpr std::pair<std::string_view, Parse> kStatements[] = {
      {"if", &Parser::if_statement},
      {"for", &Parser::for_statement},
      {"set", &Parser::set_statement},
      {"macro", &Parser::macro_statement},
      {"call", &Parser::call_block},
      {"filter", &Parser::filter_block},
      {"with", &Parser::with_statement},
      {"break", &Parser::loop_control},
      {"continue", &Parser::loop_control},
      {"do", &Parser::do_statement},
      {"generation", &Parser::generation_block},
  };
  if (!current_.is(TokenType::name)) unexpected("a tag");
  for (const auto& [tag, parse] : kStatements) {
    if (current_.is_name(tag)) return (this->*parse)();
  }
  fail_syntax(current_.at, "unknown tag '{}'", printable(current_.text));
}

std::unique_ptr<Stmt> Parser::if_statement() {
  auto node = make_statement<If>(current_.at);
  do {
    take();  // if, elif
    ExprPtr condition = tuple_or_expression(false);
    ++conditions_;
    node->branches.emplace_back(std::move(condition), block_body({"elif", "else", "endif"}));
    --conditions_;
  } while (current_.is_name("elif"));
  ++conditions_;
  if (skip_name("else")) node->otherwise = block_body({"endif"});
  --conditions_;
  expect_name("endif");
  return node;
}

std::unique_ptr<Stmt> Parser::for_statement() {
  auto node = make_statement<For>(take().at);
  node->target = target(false);
  expect_name("in");
  node->iterable = tuple_or_expression(false);
  if (skip_name("if")) node->condition = expression();
  node->recursive = skip_name("recursive");
  node->loop = intern("loop");
  ++loops_;
  node->body = block_body({"else", "endfor"});
  --loops_;
  if (skip_name("else")) node->otherwise = block_body({"endfor"});
  expect_name("endfor");
  return node;
}

std::unique_ptr<Stmt> Parser::set_statement() {
  const Position at = take().at;
  Target to = target(true);
  if (skip_op("=")) {
    auto node = make_statement<Set>(at);
    node->target = std::move(to);
    node->value = tuple_or_expression();
    return node;
  }
  auto node = make_statement<SetBlock>(at);
  node->target = std::move(to);
  node->filters = filter_chain(false);
  node->body = block_body({"endset"});
  expect_name("endset");
  return node;
}

std::unique_ptr<Stmt> Parser::with_statement() {
  auto node = make_statement<With>(take().at);
  while (!current_.is(TokenType::block_end)) {
    Target to = single_target(false);
    expect_op("=");
    node->variables.emplace_back(std::move(to), expression());
    if (!skip_op(",")) break;
  }
  node->body = block_body({"endwith"});
  expect_name("endwith");
  return node;
}

/// Marks what the assistant wrote; only training needs to know.
std::unique_ptr<Stmt> Parser::generation_block() {
  auto node = make_statement<With>(take().at);
  node->body = block_body({"endgeneration"});
  expect_name("endgeneration");
  return node;
}

std::unique_ptr<Stmt> Parser::do_statement() {
  auto node = make_statement<Evaluate>(take().at);
  node->value = tuple_or_expression();
  return node;
}

std::unique_ptr<Stmt> Parser::loop_control() {
  const Token word = take();
  if (loops_ == 0) fail_syntax(word.at, "'{}' outside of a loop", word.text);
  auto node = make_statement<LoopControl>(word.at);
  node->flow = word.text == "break" ? Flow::end_loop : Flow::end_round;
  return node;
}

void Parser::parameters(MacroDefinition& definition) {
  expect_op("(");
  while (!current_.is_op(")")) {
    const Token name = expect(TokenType::name);
    Parameter parameter{.id = intern(name.text), .name = name.text, .fallback = nullptr};
    if (skip_op("=")) {
      parameter.fallback = expression();
    } else if (!definition.parameters.empty() && definition.parameters.back().fallback) {
      fail_syntax(name.at, "parameter '{}' without a default follows one with a default", printable(name.text));
    }
    definition.parameters.push_back(std::move(parameter));
    if (!skip_op(",")) break;
  }
  expect_op(")");
}

void Parser::macro_body(MacroDefinition& definition, std::string_view end_tag) {
  macros_.push_back(&definition);
  const int outer_loops = std::exchange(loops_, 0);  // a macro cannot leave the loop it is written in
  definition.body = block_body({end_tag});
  loops_ = outer_loops;
  macros_.pop_back();
  expect_name(end_tag);
}

std::unique_ptr<Stmt> Parser::macro_statement() {
  auto node = make_statement<MacroStmt>(take().at);
  node->definition.name = expect(TokenType::name).text;
  node->id = intern(node->definition.name);
  parameters(node->definition);
  macro_body(node->definition, "endmacro");
  return node;
}

std::unique_ptr<Stmt> Parser::call_block() {
  auto node = make_statement<CallBlock>(take().at);
  node->definition.name = "caller";
  if (current_.is_op("(")) parameters(node->definition);
  const Position at = current_.at;
  ExprPtr call_expression = expression();
  if (!dynamic_cast<CallExpr*>(call_expression.get())) fail_syntax(at, "expected a call");
  node->call.reset(static_cast<CallExpr*>(call_expression.release()));
  macro_body(node->definition, "endcall");
  return node;
}

std::unique_ptr<Stmt> Parser::filter_block() {
  auto node = make_statement<FilterBlock>(take().at);
  node->filters = filter_chain(true);
  node->body = block_body({"endfilter"});
  expect_name("endfilter");
  return node;
}

/// `starts_inline`: the first filter has no '|' before it.
std::vector<std::unique_ptr<FilterExpr>> Parser::filter_chain(bool starts_inline) {
  std::vector<std::unique_ptr<FilterExpr>> filters;
  while (starts_inline || skip_op("|")) {
    filters.push_back(filter(nullptr));
    starts_inline = false;
  }
  return filters;
}

Target Parser::target(bool with_attribute) {
  const Position at = current_.at;
  Target first = single_target(with_attribute);
  if (!current_.is_op(",")) return first;
  Target tuple;
  tuple.at = at;
  tuple.parts.push_back(std::move(first));
  while (skip_op(",") && (current_.is(TokenType::name) || current_.is_op("(")) && !current_.is_name("in")) {
    tuple.parts.push_back(single_target(with_attribute));
  }
  return tuple;
}

Target Parser::single_target(bool with_attribute) {
  const Nesting nesting(*this);
  Target one;
  one.at = current_.at;
  if (skip_op("(")) {
    one = target(with_attribute);
    expect_op(")");
    return one;
  }
  const Token name = expect(TokenType::name);
  static constexpr std::string_view kConstants[] = {"true", "True", "false", "False", "none", "None"};
  const auto is_same = [&](std::string_view word) { return name.text == word; };
  if (std::any_of(std::begin(kConstants), std::end(kConstants), is_same)) {
    fail_syntax(name.at, "cannot assign to '{}'", name.text);
  }
  one.name = intern(name.text);
  if (with_attribute && skip_op(".")) one.attribute = expect(TokenType::name).text;
  return one;
}

}  // namespace packhorse::jinja
