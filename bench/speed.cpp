// Prefill and decode speed of one model, measured the way llama-bench measures them, through the public facade alone.
//
// pp: one prompt of -p tokens, from adding it to its first sampled token. tg: -n single-token steps that start from a
// prompt of one token. Tokens are random (the same in each run), a warm-up comes before, and no prefix is reused.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "packhorse/packhorse.h"

namespace {

using packhorse::Engine;

struct Settings {
  packhorse::EngineOptions engine;
  int64_t n_prompt = 512;
  int64_t n_gen = 64;
  int repetitions = 3;
};

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::vector<int64_t> random_tokens(int64_t count, int64_t vocab_size) {
  std::mt19937 random(1);
  std::vector<int64_t> tokens(static_cast<size_t>(count));
  for (int64_t& token : tokens) token = static_cast<int64_t>(random() % static_cast<uint64_t>(vocab_size));
  return tokens;
}

/// Runs one greedy request to its end. Throws Error{internal} when it did not make `n_gen` tokens.
void generate(Engine& engine, const std::vector<int64_t>& prompt, int64_t n_gen) {
  packhorse::SamplingParams params;
  params.temperature = 0;
  params.max_tokens = n_gen;
  params.ignore_eos = true;
  params.detokenize = false;
  params.output_kind = packhorse::OutputKind::final_only;
  engine.add({.text = {}, .token_ids = prompt, .cache_salt = {}}, params);
  size_t n_made = 0;
  while (engine.has_unfinished()) {
    for (const packhorse::RequestOutput& output : engine.step()) {
      if (output.finished) n_made = output.outputs.at(0).token_ids.size();
    }
  }
  if (n_made != static_cast<size_t>(n_gen)) {
    throw packhorse::Error(packhorse::ErrorKind::internal,
                           "a request for " + std::to_string(n_gen) + " tokens made " + std::to_string(n_made));
  }
}

/// Tokens per second of each repetition; none when `n_tokens` is 0.
std::vector<double> samples(int repetitions, int64_t n_tokens, const std::function<void()>& work) {
  std::vector<double> result;
  for (int i = 0; n_tokens > 0 && i < repetitions; ++i) result.push_back(static_cast<double>(n_tokens) / seconds(work));
  return result;
}

nlohmann::json median(std::vector<double> values) {
  if (values.empty()) return nullptr;
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

nlohmann::json measure(const Settings& settings) {
  const auto start = std::chrono::steady_clock::now();
  Engine engine(settings.engine);
  const double load_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const std::vector<int64_t> prompt = random_tokens(settings.n_prompt, engine.vocab_size());
  const std::vector<int64_t> first = random_tokens(1, engine.vocab_size());
  if (settings.n_prompt > 0) generate(engine, prompt, 1);
  if (settings.n_gen > 0) generate(engine, first, 2);
  const auto pp = samples(settings.repetitions, settings.n_prompt, [&] { generate(engine, prompt, 1); });
  const auto tg = samples(settings.repetitions, settings.n_gen, [&] { generate(engine, first, settings.n_gen); });
  return {{"model", settings.engine.model},
          {"dtype", settings.engine.dtype},
          {"isa", settings.engine.isa},
          {"threads", settings.engine.threads},
          {"n_prompt", settings.n_prompt},
          {"n_gen", settings.n_gen},
          {"load_s", load_s},
          {"pp_tok_s", median(pp)},
          {"tg_tok_s", median(tg)},
          {"pp_samples", pp},
          {"tg_samples", tg}};
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  packhorse::EngineOptions& engine = settings.engine;
  CLI::App app("Prefill and decode speed of one model, as JSON");
  app.add_option("MODEL", engine.model, "directory or .gguf file")->required();
  app.add_option("-t,--threads", engine.threads, "0 = one per core");
  app.add_option("--isa", engine.isa, "upper limit of the instruction set");
  app.add_option("--dtype", engine.dtype, "auto, float32, bfloat16, float16");
  app.add_option("-q,--quantization", engine.quantization, "method, as the engine takes it");
  app.add_option("-p", settings.n_prompt, "tokens of the prefill test; 0 = none")->check(CLI::NonNegativeNumber);
  app.add_option("-n", settings.n_gen, "tokens of the decode test; 0 = none")->check(CLI::NonNegativeNumber);
  app.add_option("-r", settings.repetitions, "repetitions; the median is reported")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  engine.enable_prefix_caching = false;
  engine.skip_tokenizer_init = true;
  engine.max_num_seqs = 1;
  engine.max_model_len = std::max<int64_t>({settings.n_prompt + 1, settings.n_gen + 1, 2});
  engine.max_num_batched_tokens =
      std::max(engine.max_num_batched_tokens, engine.max_model_len);  // the prompt in one step
  try {
    std::printf("%s\n", measure(settings).dump(2).c_str());
  } catch (const packhorse::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}
