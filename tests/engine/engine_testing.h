#pragma once
// Options of engines over real small checkpoints.

#include "packhorse/packhorse.h"
#include "testing.h"

namespace packhorse::testing {

inline EngineOptions tiny_options(int64_t max_model_len, int64_t threads, int64_t n_kv_blocks) {
  EngineOptions options;
  options.model = (golden_dir() / "formats" / "bnb-nf4-double").string();
  options.dtype = "float32";
  options.max_model_len = max_model_len;
  options.threads = threads;
  options.num_kv_blocks_override = n_kv_blocks;
  return options;
}

/// So few KV blocks for a dozen outputs that some of them are preempted.
inline EngineOptions crowded(EngineOptions options, int64_t n_kv_blocks) {
  options.max_num_batched_tokens = 16;
  options.max_num_seqs = 12;
  options.num_kv_blocks_override = n_kv_blocks;
  options.max_model_len = 200;
  return options;
}

}  // namespace packhorse::testing
