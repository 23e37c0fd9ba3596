#pragma once
// From what a caller asks for to a request that the engine can finish; what it cannot is refused here.

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/request.h"
#include "text/tokenizer.h"

namespace packhorse {

/// What every request must keep to.
struct RequestLimits {
  int64_t vocab_size = 0;
  int64_t max_model_len = 0;    // tokens of prompt and output
  int64_t max_pool_tokens = 0;  // tokens that the KV pool holds
  int64_t max_logprobs = 20;    // -1 = whole vocabulary
  uint64_t seed = 0;
  std::vector<int32_t> eos_token_ids;  // the main one first
};

/// A request with its sequences, none of them scheduled. Throws Error{request}; `tokenizer` may be null.
std::unique_ptr<Request> make_request(uint64_t id, const Prompt& prompt, const SamplingParams& params,
                                      const Tokenizer* tokenizer, const RequestLimits& limits);

}  // namespace packhorse
