#pragma once
// From StructuredOutputs to the grammar that matchers follow.

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/structured/reasoning.h"
#include "packhorse/packhorse.h"
#include "text/tokenizer.h"

namespace packhorse {

struct OutputGrammar;

/// Compiles once per text: the grammars used last are kept, up to a number of bytes. Thread-safe.
class GrammarCompiler {
 public:
  /// `vocab_size` counts the logits of the model. The tokenizer must outlive the object.
  GrammarCompiler(const Tokenizer& tokenizer, int64_t vocab_size, std::vector<int32_t> eos_token_ids);
  ~GrammarCompiler();
  GrammarCompiler(const GrammarCompiler&) = delete;
  GrammarCompiler& operator=(const GrammarCompiler&) = delete;

  /// Throws Error{request} for what is no grammar, matches nothing, or takes too much time or memory to compile.
  std::shared_ptr<const OutputGrammar> compile(const StructuredOutputs& wanted) const;

  /// What the tokens have to do with the reasoning that `wanted` allows; null when it allows none.
  std::shared_ptr<const ReasoningMarkers> markers(const StructuredOutputs& wanted, bool skip_special_tokens) const;

  /// How often compile() found nothing in the cache.
  int64_t n_compiled() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace packhorse
