#pragma once
// The grammar that a request writes down, parsed and checked, before it is compiled for the tokens of a model.

#include <xgrammar/grammar.h>

#include <string>

#include "packhorse/packhorse.h"

namespace packhorse {

/// Equal for equal grammars. `wanted` has passed SamplingParams::validate_and_normalize.
std::string grammar_key(const StructuredOutputs& wanted);

/// Throws Error{request} for what is no grammar or beyond the limits of any; also what xgrammar throws.
xgrammar::Grammar make_grammar(const StructuredOutputs& wanted, const xgrammar::TokenizerInfo& vocabulary);

}  // namespace packhorse
