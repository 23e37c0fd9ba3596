#pragma once
// Prompts of common English words, most of which are one token in every vocabulary.

#include <cstdint>
#include <string>

#include "load/options.h"

namespace packhorse::load {

/// What one request asks. Prompts differ from `number` to `number` (and by seed) behind the shared prefix.
struct Job {
  int64_t number = 0, prompt_tokens = 0, max_tokens = 0;
  bool is_probe = false;
};

/// Head and body of the POST.
std::string request_text(const Options& options, const Job& job);

}  // namespace packhorse::load
