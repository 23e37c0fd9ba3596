#include "app/cli/bench_run.h"

#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>

namespace packhorse::cli {
namespace {

constexpr int64_t kBlockTokens = 16;  // a sequence takes places in the cache in blocks of so many

SamplingParams greedy(int64_t n_gen) {
  SamplingParams params;
  params.temperature = 0;
  params.max_tokens = n_gen;
  params.ignore_eos = true;
  params.detokenize = false;
  params.output_kind = OutputKind::final_only;
  return params;
}

}  // namespace

BenchModel describe_model(const Engine& engine) {
  const auto info = nlohmann::json::parse(engine.inspect_json(false));
  BenchModel model;
  info.at("model").get_to(model.file);
  info.at("architecture").get_to(model.architecture);
  info.at("quantization").get_to(model.quantization);
  info.at("dtype").get_to(model.dtype);
  info.at("kv_cache_dtype").get_to(model.kv_dtype);
  info.at("isa").get_to(model.isa);
  info.at("weight_bytes").get_to(model.weight_bytes);
  info.at("weight_bytes_per_step").get_to(model.weight_bytes_per_step);
  info.at("kv_bytes_per_token").get_to(model.kv_bytes_per_token);
  info.at("kv_cache_bytes").get_to(model.kv_cache_bytes);
  info.at("threads").get_to(model.threads);
  for (const auto& module : info.at("modules")) {
    if (module.at("shared").get<bool>()) continue;
    int64_t n = 1;
    for (const auto& size : module.at("shape")) n *= size.get<int64_t>();
    model.n_params += n;
  }
  return model;
}

void require_room(const BenchModel& model, const BenchTest& test) {
  const int64_t blocks = test.n_sequences * ((test.context() + kBlockTokens - 1) / kBlockTokens);
  const int64_t needed = blocks * kBlockTokens * model.kv_bytes_per_token;
  if (needed > model.kv_cache_bytes) {
    throw Error(
        ErrorKind::resource,
        fmt::format("KV cache: {} with {} sequences needs {} bytes, {} are there (VLLM_CPU_KVCACHE_SPACE helps)",
                    test.name(), test.n_sequences, needed, model.kv_cache_bytes));
  }
}

BenchRun::Tokens BenchRun::random_tokens(int64_t count) {
  std::uniform_int_distribution<int64_t> any(0, engine_.vocab_size() - 1);
  Tokens tokens(static_cast<size_t>(count));
  for (int64_t& token : tokens) token = any(random_);
  return tokens;
}

void BenchRun::generate(const std::vector<Tokens>& prompts, int64_t n_gen, int64_t n_cached) {
  const SamplingParams params = greedy(n_gen);
  for (const Tokens& prompt : prompts) engine_.add({.token_ids = prompt}, params);
  size_t n_finished = 0;
  while (engine_.has_unfinished()) {
    for (const RequestOutput& output : engine_.step()) {
      if (!output.finished) continue;
      ++n_finished;
      const auto n_made = static_cast<int64_t>(output.outputs.at(0).token_ids.size());
      if (n_made != n_gen || output.num_cached_tokens != n_cached) {
        throw Error(ErrorKind::internal, fmt::format("a test of {} tokens after {} in the cache made {} after {}",
                                                     n_gen, n_cached, n_made, output.num_cached_tokens));
      }
    }
  }
  if (n_finished != prompts.size()) {
    throw Error(ErrorKind::internal, fmt::format("{} of {} sequences came to an end", n_finished, prompts.size()));
  }
}

int64_t BenchRun::run_once(const BenchTest& test) {
  engine_.reset_prefix_cache();
  std::vector<Tokens> prompts;
  for (int64_t i = 0; i < test.n_sequences; ++i) prompts.push_back(random_tokens(test.n_depth));
  if (test.n_depth > 0) generate(prompts, 1, 0);
  for (Tokens& prompt : prompts) {
    // A generation test starts from one token, as if the user had typed it.
    const Tokens rest = random_tokens(std::max<int64_t>(test.n_prompt, 1));
    prompt.insert(prompt.end(), rest.begin(), rest.end());
  }
  // The prompt's own pass gives a token, so `n_gen` passes after it give one more.
  const int64_t n_made = test.n_gen + (test.n_prompt > 0 ? 1 : 0);
  const auto start = std::chrono::steady_clock::now();
  generate(prompts, n_made, test.n_depth);
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count();
}

std::vector<int64_t> BenchRun::measure(const BenchTest& test, int64_t repetitions, bool warmup,
                                       const std::function<void(int64_t)>& progress) {
  if (warmup) {
    progress(0);
    BenchTest shorter = test;
    shorter.n_gen = std::min<int64_t>(test.n_gen, 2);
    run_once(shorter);
  }
  std::vector<int64_t> samples;
  for (int64_t i = 1; i <= repetitions; ++i) {
    progress(i);
    samples.push_back(run_once(test));
  }
  return samples;
}

}  // namespace packhorse::cli
