#pragma once
// One engine and the tests that `packhorse bench` runs on it, through nothing but the public facade.

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "app/cli/bench_settings.h"
#include "packhorse/packhorse.h"

namespace packhorse::cli {

/// What a table says about a loaded model.
struct BenchModel {
  std::string file, architecture, quantization, dtype, kv_dtype, isa;
  int64_t n_params = 0;  // of the matrices; norms and biases are not counted
  int64_t weight_bytes = 0, weight_bytes_per_step = 0, kv_bytes_per_token = 0, kv_cache_bytes = 0;
  int threads = 0;
};
BenchModel describe_model(const Engine& engine);

/// Runs tests with random token ids: no tokenizer is needed. The engine must come from BenchSettings::engine_options.
class BenchRun {
 public:
  explicit BenchRun(Engine& engine) : engine_(engine) {}

  /// Nanoseconds of each repetition; `progress` is told before each (0 is the warm-up).
  std::vector<int64_t> measure(const BenchTest& test, int64_t repetitions, bool warmup,
                               const std::function<void(int64_t)>& progress);

 private:
  using Tokens = std::vector<int64_t>;
  int64_t run_once(const BenchTest& test);
  /// Runs all prompts to their ends. Throws Error{internal} when one made too few tokens or found less in the cache.
  void generate(const std::vector<Tokens>& prompts, int64_t n_gen, int64_t n_cached);
  Tokens random_tokens(int64_t count);

  Engine& engine_;
  std::mt19937_64 random_{1};
};

/// Throws Error{resource} when the KV cache cannot hold all sequences of a test at once.
void require_room(const BenchModel& model, const BenchTest& test);

}  // namespace packhorse::cli
