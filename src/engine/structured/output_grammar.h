#pragma once
// What outputs have to match, compiled for the tokens of one model.

#include <xgrammar/compiler.h>

#include <atomic>
#include <cstddef>
#include <utility>

namespace packhorse {

/// The matchers of all outputs that have to match it share it.
struct OutputGrammar {
  OutputGrammar(xgrammar::CompiledGrammar grammar, size_t bytes) : compiled(std::move(grammar)), n_bytes(bytes) {}

  const xgrammar::CompiledGrammar compiled;
  const size_t n_bytes;  // about
  /// Set by the first matcher that runs out of time: nobody else is to lose as much.
  mutable std::atomic<bool> is_too_slow{false};
};

}  // namespace packhorse
