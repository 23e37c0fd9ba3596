#include "engine/structured/grammar_checks.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "engine/structured/xgrammar_hooks.h"

// Of xgrammar's inside: the grammar as it has parsed it.
#include <grammar_impl.h>

namespace packhorse {
namespace {

using ExprType = xgrammar::Grammar::Impl::GrammarExprType;

constexpr int32_t kMaxRepetitions = 100'000;
constexpr size_t kMaxChain = 1000;
constexpr int kMaxNestedRepetitions = 4;

/// The rules that may stand at the start of a rule. What stands after something that may be empty is not among them:
/// following it costs time, which is limited, and no more.
std::vector<int32_t> first_rules(const xgrammar::Grammar& grammar, int32_t rule) {
  std::vector<int32_t> rules;
  std::vector<int32_t> expressions = {grammar->GetRule(rule).body_expr_id};
  while (!expressions.empty()) {
    const auto expression = grammar->GetGrammarExpr(expressions.back());
    expressions.pop_back();
    switch (expression.type) {
      case ExprType::kChoices:
        expressions.insert(expressions.end(), expression.begin(), expression.end());
        break;
      case ExprType::kSequence:
        if (expression.size() > 0) expressions.push_back(expression[0]);
        break;
      case ExprType::kRuleRef:
      case ExprType::kRepeat:
        rules.push_back(expression[0]);
        break;
      default:
        break;
    }
  }
  return rules;
}

}  // namespace

void check_recursion(const xgrammar::Grammar& grammar, const char* what) {
  enum class State : uint8_t { unseen, open, done };
  struct Visit {
    int32_t rule;
    std::vector<int32_t> left;  // to be visited from it
  };
  std::vector<State> states(static_cast<size_t>(grammar->NumRules()), State::unseen);
  std::vector<Visit> path;
  const auto enter = [&](int32_t rule) {
    State& state = states[static_cast<size_t>(rule)];
    if (state == State::open) {
      fail(ErrorKind::request, "structured_outputs: {} (in rule '{}')", what, printable(grammar->GetRule(rule).name));
    }
    if (state == State::done) return;
    state = State::open;
    path.push_back({rule, first_rules(grammar, rule)});
    if (path.size() > kMaxChain) {
      fail(ErrorKind::request, "structured_outputs: a chain of more than {} rules begins at rule '{}'", kMaxChain,
           printable(grammar->GetRule(path[0].rule).name));
    }
  };
  for (int32_t rule = 0; rule < grammar->NumRules(); ++rule) {
    enter(rule);
    while (!path.empty()) {
      Visit& last = path.back();
      if (last.left.empty()) {
        states[static_cast<size_t>(last.rule)] = State::done;
        path.pop_back();
      } else {
        const int32_t next = last.left.back();
        last.left.pop_back();
        enter(next);
      }
    }
  }
}

void check_nested_repetitions(std::string_view regex) {
  std::vector<int> depths = {0};  // of the repetitions in each open group
  bool in_class = false;
  for (size_t i = 0; i < regex.size(); ++i) {
    const char c = regex[i];
    if (c == '\\') {
      ++i;
    } else if (in_class) {
      in_class = c != ']';
    } else if (c == '[') {
      in_class = true;
    } else if (c == '(') {
      depths.push_back(0);
    } else if (c == ')' && depths.size() > 1) {
      const bool repeats = i + 1 < regex.size() && std::string_view("*+{").find(regex[i + 1]) != std::string_view::npos;
      const int depth = depths.back() + int{repeats};
      depths.pop_back();
      depths.back() = std::max(depths.back(), depth);
      if (depth > kMaxNestedRepetitions) {
        fail(ErrorKind::request, "structured_outputs: regex: repeated groups within each other (got {}, limit {})",
             depth, kMaxNestedRepetitions);
      }
    }
  }
}

void check_repetitions(const xgrammar::Grammar& grammar) {
  for (int32_t i = 0; i < grammar->NumGrammarExprs(); ++i) {
    const auto expression = grammar->GetGrammarExpr(i);
    if (expression.type != ExprType::kRepeat) continue;
    const int32_t count = std::max(expression[1], expression[2]);  // the second is -1 without an upper limit
    if (count > kMaxRepetitions) {
      fail(ErrorKind::request, "structured_outputs: {} repetitions are too many (limit {})", count, kMaxRepetitions);
    }
  }
}

}  // namespace packhorse
