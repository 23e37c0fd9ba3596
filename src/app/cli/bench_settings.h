#pragma once
// What `packhorse bench` measures: the values of its flags and the tests that they make.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "packhorse/packhorse.h"

namespace packhorse::cli {

/// `n_sequences` prompts of `n_prompt` tokens, each continued by `n_gen` single-token steps, after `n_depth` tokens
/// that are in the cache before the clock starts.
struct BenchTest {
  int64_t n_prompt = 0, n_gen = 0, n_depth = 0, n_sequences = 1;

  /// As llama-bench calls it: "pp512", "tg128", "pp512+tg128 @ d1024".
  std::string name() const;
  /// Places in the KV cache that one sequence takes, and one more for its last token.
  int64_t context() const { return n_depth + (n_prompt > 0 ? n_prompt : 1) + n_gen + 1; }
  int64_t n_tokens() const { return n_sequences * (n_prompt + n_gen); }
};

enum class BenchFormat : uint8_t { markdown, json, jsonl, csv };

struct BenchSettings {
  EngineOptions engine;  // `model`, `threads` and what the tests need are set for each engine
  std::vector<std::string> models;
  std::vector<int64_t> n_prompt, n_gen, n_depth, n_sequences, n_batch, threads;
  std::vector<std::pair<int64_t, int64_t>> prompt_and_gen;
  int64_t repetitions = 5, delay_s = 0;
  bool warmup = true;
  BenchFormat format = BenchFormat::markdown;

  void add_to(CLI::App& command);
  /// After parsing: defaults for what was not given. Throws Error{usage} when nothing is left to measure.
  void finish(const CLI::App& command);
  /// The tests of one engine, in llama-bench's order.
  std::vector<BenchTest> tests() const;
  /// Options of an engine that can run all tests, and nothing cached that a test does not want.
  EngineOptions engine_options(const std::string& model, int64_t n_threads, int64_t batch) const;
};

/// The numbers of "16,32", "1-4", "0-512+128" and "512-4096*2". Throws Error{usage} that names `label`.
std::vector<int64_t> parse_number_list(std::string_view label, std::string_view text, int64_t min, int64_t max);

}  // namespace packhorse::cli
