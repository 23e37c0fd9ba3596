#pragma once
// From what a caller asks for to a request that the engine can finish; what it cannot is refused here.

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/request.h"
#include "engine/structured/grammar_compiler.h"
#include "text/tokenizer.h"

namespace packhorse {

/// What every request must keep to.
struct RequestLimits {
  int64_t vocab_size = 0;
  int64_t max_model_len = 0;                  // tokens of prompt and output
  int64_t max_pool_tokens = 0;                // tokens that the KV pool holds
  int64_t max_logprobs = 20;                  // -1 = whole vocabulary
  int64_t hidden_size = 0;                    // of the model; 0 = it gives no hidden states
  bool by_priority = false;                   // Prompt::priority may be set
  std::vector<int32_t> eos_token_ids;         // the main one first
  const GrammarCompiler* grammars = nullptr;  // null without a tokenizer
};

/// A request with its sequences, none of them scheduled, and no id yet. Throws Error{request}; `tokenizer` may be null.
/// Thread-safe.
std::unique_ptr<Request> make_request(const Prompt& prompt, const SamplingParams& params, const Tokenizer* tokenizer,
                                      const RequestLimits& limits);
/// One that ends with an embedding. Its first sequence alone exists.
std::unique_ptr<Request> make_request(const Prompt& prompt, const PoolingParams& params, const Tokenizer* tokenizer,
                                      const RequestLimits& limits);

}  // namespace packhorse
