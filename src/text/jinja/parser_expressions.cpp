#include <algorithm>
#include <array>

#include "text/jinja/builtins.h"
#include "text/jinja/parser.h"

namespace packhorse::jinja {
namespace {

struct BinaryOperator {
  std::string_view text;
  Operator op;
  int level;
};
constexpr std::array<BinaryOperator, 8> kBinaryOperators = {{
    {"+", Operator::add, 0},
    {"-", Operator::subtract, 0},
    {"~", Operator::join, 1},
    {"*", Operator::multiply, 2},
    {"/", Operator::divide, 2},
    {"//", Operator::floor_divide, 2},
    {"%", Operator::modulo, 2},
    {"**", Operator::power, 3},
}};
constexpr int kBinaryLevels = 4;

constexpr std::array<std::pair<std::string_view, Comparison>, 6> kComparisons = {{
    {"==", Comparison::equal},
    {"!=", Comparison::not_equal},
    {"<", Comparison::less},
    {"<=", Comparison::less_equal},
    {">", Comparison::greater},
    {">=", Comparison::greater_equal},
}};

int height_of(const ExprPtr& node) { return node ? node->height : 0; }

template <class Pairs>
int second_height(const Pairs& pairs) {
  int height = 0;
  for (const auto& pair : pairs) height = std::max(height, height_of(pair.second));
  return height;
}

int height_of(const std::vector<ExprPtr>& nodes) {
  int height = 0;
  for (const ExprPtr& node : nodes) height = std::max(height, height_of(node));
  return height;
}

/// Tokens after which a comma-separated list without brackets is over.
bool ends_tuple(const Token& token) {
  return token.is(TokenType::variable_end) || token.is(TokenType::block_end) || token.is_op(")") ||
         token.is_name("recursive");
}

}  // namespace

int Arguments::height() const {
  return std::max({height_of(positional), second_height(named), height_of(rest), height_of(named_rest)});
}

ExprPtr Parser::expression(bool with_conditional) {
  const Nesting nesting(*this);
  ExprPtr node = or_expression();
  while (with_conditional && current_.is_name("if")) {
    const Position at = take().at;
    auto choice = std::make_unique<Conditional>();
    choice->value = std::move(node);
    choice->condition = or_expression();
    if (skip_name("else")) choice->otherwise = expression();
    const int heights[] = {height_of(choice->value), height_of(choice->condition), height_of(choice->otherwise)};
    node = finish(std::move(choice), at, {heights[0], heights[1], heights[2]});
  }
  return node;
}

ExprPtr Parser::tuple_or_expression(bool with_conditional) {
  const Position at = current_.at;
  if (ends_tuple(current_)) unexpected("an expression");
  ExprPtr first = expression(with_conditional);
  if (!current_.is_op(",")) return first;
  auto tuple = std::make_unique<Sequence>();
  tuple->form = List::Form::tuple;
  tuple->items.push_back(std::move(first));
  while (skip_op(",") && !ends_tuple(current_)) tuple->items.push_back(expression(with_conditional));
  const int height = height_of(tuple->items);
  return finish(std::move(tuple), at, {height});
}

ExprPtr Parser::or_expression() {
  ExprPtr node = and_expression();
  while (current_.is_name("or")) {
    auto logic = std::make_unique<Logic>();
    const Position at = take().at;
    logic->left = std::move(node);
    logic->right = and_expression();
    const int left = logic->left->height, right = logic->right->height;
    node = finish(std::move(logic), at, {left, right});
  }
  return node;
}

ExprPtr Parser::and_expression() {
  ExprPtr node = not_expression();
  while (current_.is_name("and")) {
    auto logic = std::make_unique<Logic>();
    const Position at = take().at;
    logic->is_and = true;
    logic->left = std::move(node);
    logic->right = not_expression();
    const int left = logic->left->height, right = logic->right->height;
    node = finish(std::move(logic), at, {left, right});
  }
  return node;
}

ExprPtr Parser::not_expression() {
  if (!current_.is_name("not")) return comparison();
  const Nesting nesting(*this);
  auto node = std::make_unique<Unary>();
  const Position at = take().at;
  node->op = Unary::Op::logical_not;
  node->operand = not_expression();
  const int height = node->operand->height;
  return finish(std::move(node), at, {height});
}

ExprPtr Parser::comparison() {
  const Position at = current_.at;
  ExprPtr first = binary(0);
  std::vector<std::pair<Comparison, ExprPtr>> rest;
  for (;;) {
    const auto* const found = std::find_if(kComparisons.begin(), kComparisons.end(),
                                           [&](const auto& row) { return current_.is_op(row.first); });
    if (found != kComparisons.end()) {
      take();
      rest.emplace_back(found->second, binary(0));
    } else if (skip_name("in")) {
      rest.emplace_back(Comparison::in, binary(0));
    } else if (current_.is_name("not") && ahead_.is_name("in")) {
      take(), take();
      rest.emplace_back(Comparison::not_in, binary(0));
    } else {
      break;
    }
  }
  if (rest.empty()) return first;
  auto node = std::make_unique<Compare>();
  node->first = std::move(first);
  node->rest = std::move(rest);
  const int left = node->first->height, right = second_height(node->rest);
  return finish(std::move(node), at, {left, right});
}

ExprPtr Parser::binary(int level) {
  if (level == kBinaryLevels) return unary(true);
  ExprPtr node = binary(level + 1);
  for (;;) {
    const auto* const found =
        std::find_if(kBinaryOperators.begin(), kBinaryOperators.end(),
                     [&](const BinaryOperator& row) { return row.level == level && current_.is_op(row.text); });
    if (found == kBinaryOperators.end()) return node;
    auto operation = std::make_unique<Binary>();
    const Position at = take().at;
    operation->op = found->op;
    operation->left = std::move(node);
    operation->right = binary(level + 1);
    const int left = operation->left->height, right = operation->right->height;
    node = finish(std::move(operation), at, {left, right});
  }
}

ExprPtr Parser::unary(bool with_filters) {
  ExprPtr node;
  if (current_.is_op("-") || current_.is_op("+")) {
    const Nesting nesting(*this);
    auto sign = std::make_unique<Unary>();
    sign->op = current_.is_op("-") ? Unary::Op::minus : Unary::Op::plus;
    const Position at = take().at;
    sign->operand = unary(false);
    const int height = sign->operand->height;
    node = finish(std::move(sign), at, {height});
  } else {
    node = primary();
  }
  node = postfix(std::move(node));
  return with_filters ? filters_and_tests(std::move(node)) : std::move(node);
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
