#pragma once
// Sampling parameters on the command line, over the defaults of the model's generation_config.json.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "packhorse/packhorse.h"

namespace packhorse::cli {

struct SamplingFlags {
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int64_t> top_k, max_tokens, n;
  std::vector<std::string> stop, bad_words;
  std::map<int64_t, double> logit_bias;
  std::optional<std::vector<int64_t>> allowed_token_ids;

  void add_to(CLI::App& command);
  /// `defaults` with what was given; without --max-tokens the answer may fill the context. Throws Error{request} for
  /// values out of range.
  SamplingParams over(SamplingParams defaults) const;
};

}  // namespace packhorse::cli
