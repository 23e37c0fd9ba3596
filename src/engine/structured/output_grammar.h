#pragma once
// What outputs have to match, compiled for the tokens of one model.

#include <xgrammar/compiler.h>

#include <cstddef>

namespace packhorse {

/// Immutable; the matchers of all outputs that have to match it share it.
struct OutputGrammar {
  xgrammar::CompiledGrammar compiled;
  size_t n_bytes;  // about
};

}  // namespace packhorse
