#include <algorithm>

#include "text/jinja/builtins.h"
#include "text/jinja/parser.h"

namespace packhorse::jinja {

int Arguments::height() const {
  return std::max({height_of(positional), second_height(named), height_of(rest), height_of(named_rest)});
}

ExprPtr Parser::primary() {
  const Position at = current_.at;
  auto literal = std::make_unique<Literal>();
  literal->at = at;
  switch (current_.type) {
    case TokenType::integer:
      literal->value = take().integer;
      return literal;
    case TokenType::real:
      literal->value = take().real;
      return literal;
    case TokenType::string: {
      std::string text = take().text;
      while (current_.is(TokenType::string)) text += take().text;  // "a" "b" is one string
      literal->value = literal_text(std::move(text));
      return literal;
    }
    case TokenType::name:
      break;
    case TokenType::op:
      if (current_.is_op("(")) return parenthesized();
      if (current_.is_op("[")) return list_literal();
      if (current_.is_op("{")) return dict_literal();
      [[fallthrough]];
    default:
      unexpected("an expression");
  }
  const std::string word = take().text;
  if (word == "true" || word == "True" || word == "false" || word == "False") {
    literal->value = word == "true" || word == "True";
    return literal;
  }
  if (word == "none" || word == "None") return literal;
  auto node = std::make_unique<Name>();
  node->id = intern(word);
  return finish(std::move(node), at, {});
}

ExprPtr Parser::parenthesized() {
  const Position at = take().at;
  if (!skip_op(")")) {
    ExprPtr node = tuple_or_expression();
    expect_op(")");
    return node;
  }
  auto empty = std::make_unique<Sequence>();
  empty->form = List::Form::tuple;
  return finish(std::move(empty), at, {});
}

ExprPtr Parser::list_literal() {
  const Position at = take().at;
  auto list = std::make_unique<Sequence>();
  while (!current_.is_op("]")) {
    list->items.push_back(expression());
    if (!skip_op(",")) break;
  }
  expect_op("]");
  const int height = height_of(list->items);
  return finish(std::move(list), at, {height});
}

ExprPtr Parser::dict_literal() {
  const Position at = take().at;
  auto dict = std::make_unique<DictLiteral>();
  int height = 0;
  while (!current_.is_op("}")) {
    ExprPtr key = expression();
    expect_op(":");
    ExprPtr value = expression();
    height = std::max({height, key->height, value->height});
    dict->items.emplace_back(std::move(key), std::move(value));
    if (!skip_op(",")) break;
  }
  expect_op("}");
  return finish(std::move(dict), at, {height});
}

ExprPtr Parser::postfix(ExprPtr node) {
  for (;;) {
    if (current_.is_op(".") || current_.is_op("["))
      node = subscript(std::move(node));
    else if (current_.is_op("("))
      node = call(std::move(node));
    else
      return node;
  }
}

ExprPtr Parser::filters_and_tests(ExprPtr node) {
  for (;;) {
    if (current_.is_op("|")) {
      take();
      node = filter(std::move(node));
    } else if (current_.is_name("is")) {
      node = test(std::move(node));
    } else if (current_.is_op("(")) {
      node = call(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr Parser::subscript(ExprPtr object) {
  const Token opening = take();
  const Position at = opening.at;
  const int height = object->height;
  if (opening.is_op(".")) {
    if (current_.is(TokenType::integer)) {
      auto node = std::make_unique<Subscript>();
      auto key = std::make_unique<Literal>();
      key->value = take().integer;
      node->object = std::move(object);
      node->key = std::move(key);
      return finish(std::move(node), at, {height});
    }
    auto node = std::make_unique<Attribute>();
    node->name = literal_text(expect(TokenType::name).text);
    node->object = std::move(object);
    return finish(std::move(node), at, {height});
  }
  ExprPtr key;
  if (!current_.is_op(":")) {
    key = tuple_or_expression();
    if (!current_.is_op(":")) {
      expect_op("]");
      auto node = std::make_unique<Subscript>();
      node->object = std::move(object);
      node->key = std::move(key);
      const int key_height = node->key->height;
      return finish(std::move(node), at, {height, key_height});
    }
  }
  auto node = std::make_unique<Slice>();
  node->object = std::move(object);
  node->start = std::move(key);
  expect_op(":");
  if (!current_.is_op(":") && !current_.is_op("]")) node->stop = expression();
  if (skip_op(":") && !current_.is_op("]")) node->step = expression();
  expect_op("]");
  const int bounds = std::max({height_of(node->start), height_of(node->stop), height_of(node->step)});
  return finish(std::move(node), at, {height, bounds});
}

Arguments Parser::arguments() {
  expect_op("(");
  Arguments out;
  while (!current_.is_op(")")) {
    if (current_.is_op("*") && !out.rest && !out.named_rest) {
      take();
      out.rest = expression();
    } else if (current_.is_op("**") && !out.named_rest) {
      take();
      out.named_rest = expression();
    } else if (current_.is(TokenType::name) && ahead_.is_op("=") && !out.named_rest) {
      std::string name = take().text;
      take();
      out.named.emplace_back(std::move(name), expression());
    } else if (out.named.empty() && !out.rest && !out.named_rest) {
      out.positional.push_back(expression());
    } else {
      unexpected("a named argument");
    }
    if (!skip_op(",")) break;
  }
  expect_op(")");
  return out;
}

ExprPtr Parser::call(ExprPtr callee) {
  const Position at = current_.at;
  auto node = std::make_unique<CallExpr>();
  node->callee = std::move(callee);
  node->arguments = arguments();
  const int left = node->callee->height, right = node->arguments.height();
  return finish(std::move(node), at, {left, right});
}

std::unique_ptr<FilterExpr> Parser::filter(ExprPtr object) {
  const Token name = expect(TokenType::name);
  auto node = std::make_unique<FilterExpr>();
  node->filter = find_filter(name.text);
  if (!node->filter && conditions_ == 0) fail_syntax(name.at, "unknown filter '{}'", printable(name.text));
  node->name = name.text;
  node->object = std::move(object);
  if (current_.is_op("(")) node->arguments = arguments();
  const int left = height_of(node->object), right = node->arguments.height();
  return finish(std::move(node), name.at, {left, right});
}

ExprPtr Parser::test(ExprPtr object) {
  take();
  auto node = std::make_unique<TestExpr>();
  node->negated = skip_name("not");
  const Token name = expect(TokenType::name);
  node->test = find_test(name.text);
  if (!node->test && conditions_ == 0) fail_syntax(name.at, "unknown test '{}'", printable(name.text));
  node->name = name.text;
  node->object = std::move(object);
  const bool is_word = current_.is(TokenType::name) && !current_.is_name("else") && !current_.is_name("or") &&
                       !current_.is_name("and") && !current_.is_name("if");
  if (current_.is_op("(")) {
    node->arguments = arguments();
  } else if (current_.is_name("is")) {
    fail_syntax(current_.at, "tests cannot be chained with 'is'");
  } else if (current_.is(TokenType::string) || current_.is(TokenType::integer) || current_.is(TokenType::real) ||
             current_.is_op("[") || current_.is_op("{") || is_word) {
    node->arguments.positional.push_back(postfix(primary()));
  }
  const int left = node->object->height, right = node->arguments.height();
  return finish(std::move(node), name.at, {left, right});
}

}  // namespace packhorse::jinja
