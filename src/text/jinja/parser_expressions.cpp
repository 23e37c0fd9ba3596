#include <algorithm>
#include <array>

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

/// Tokens after which a comma-separated list without brackets is over.
bool ends_tuple(const Token& token) {
  return token.is(TokenType::variable_end) || token.is(TokenType::block_end) || token.is_op(")") ||
         token.is_name("recursive");
}

}  // namespace

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

}  // namespace packhorse::jinja
