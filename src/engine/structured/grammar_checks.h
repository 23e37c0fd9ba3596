#pragma once
// Limits of grammars that xgrammar itself has not.

#include <xgrammar/grammar.h>

#include <string_view>

namespace packhorse {

/// Refuses rules that begin with themselves, at once or through others, and long chains of rules that begin with each
/// other: `what` says which of its two is the case. Throws Error{request}.
void check_recursion(const xgrammar::Grammar& grammar, const char* what);

/// Refuses an expression whose repeated groups stand deep within each other, such as (((((a*)*)*)*)*: there are too
/// many ways to match a text with it. Throws Error{request}.
void check_nested_repetitions(std::string_view regex);

/// Refuses counts that no output can reach. Throws Error{request}.
void check_repetitions(const xgrammar::Grammar& grammar);

}  // namespace packhorse
