#include "app/cli/bench_settings.h"

#include <algorithm>
#include <optional>

#include "app/cli/flags.h"

namespace packhorse::cli {
namespace {

constexpr int64_t kMaxTokens = 1 << 24, kMaxValues = 1000;
constexpr int64_t kDepthUnit = 16;  // prompts share their beginnings in blocks of so many tokens

/// What the tests decide, and what has no meaning without a tokenizer or a question.
constexpr const char* kDecidedByTests[] = {"--max-model-len", "--max-num-seqs",        "--enable-prefix-caching",
                                           "--tokenizer",     "--skip-tokenizer-init", "--chat-template",
                                           "--max-logprobs",  "--generation-config",   "--seed"};

int64_t parse_number(std::string_view label, std::string_view text, int64_t min, int64_t max) {
  int64_t value = 0;
  app::set_from_text({.min = static_cast<double>(min), .max = static_cast<double>(max)}, label, text, value);
  return value;
}

/// Cuts `text` at the first of `marks` and returns what follows; nothing when there is none.
std::optional<std::string_view> cut(std::string_view& text, std::string_view marks) {
  const size_t at = text.find_first_of(marks);
  if (at == text.npos) return std::nullopt;
  const std::string_view rest = text.substr(at + 1);
  text = text.substr(0, at);
  return rest;
}

/// Appends FIRST, or FIRST-LAST with a step "+N" or "*N".
void append_range(std::string_view label, std::string_view text, int64_t min, int64_t max, std::vector<int64_t>& out) {
  const std::string_view whole = text;
  const bool multiplies = text.find('*') != text.npos;
  const auto step_text = cut(text, "+*");
  const auto last_text = cut(text, "-");
  const int64_t first = parse_number(label, text, min, max);
  const int64_t last = last_text ? parse_number(label, *last_text, min, max) : first;
  const int64_t step = step_text ? parse_number(label, *step_text, 1, kMaxTokens) : 1;
  if ((step_text && !last_text) || last < first || (multiplies && (step < 2 || first < 1)))
    app::fail_flag(label, "not a range that ends (got '{}', like 1-8, 0-512+128 or 1-64*2)", printable(whole));
  for (int64_t value = first; value <= last; value = multiplies ? value * step : value + step) {
    if (static_cast<int64_t>(out.size()) >= kMaxValues)
      app::fail_flag(label, "more than {} values (got '{}')", kMaxValues, printable(whole));
    out.push_back(value);
  }
}

/// An option that may be given more than once, each time with one text.
CLI::Option* add_repeated(CLI::App& command, const std::string& names, const char* metavar, const std::string& help,
                          std::function<void(const std::string&)> take) {
  return command
      .add_option_function<std::vector<std::string>>(
          names,
          [take = std::move(take)](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) take(text);
          },
          wrap_help(help))
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->type_name(metavar);
}

BenchFormat parse_format(const std::string& text) {
  constexpr std::pair<const char*, BenchFormat> kFormats[] = {{"md", BenchFormat::markdown},
                                                              {"json", BenchFormat::json},
                                                              {"jsonl", BenchFormat::jsonl},
                                                              {"csv", BenchFormat::csv}};
  for (const auto& [name, format] : kFormats) {
    if (text == name) return format;
  }
  app::fail_flag("--output", "unknown format (got '{}', allowed md, json, jsonl, csv)", printable(text));
}

}  // namespace

std::vector<int64_t> parse_number_list(std::string_view label, std::string_view text, int64_t min, int64_t max) {
  std::vector<int64_t> numbers;
  for (std::optional<std::string_view> rest = text; rest;) {
    std::string_view item = *rest;
    rest = cut(item, ",");
    append_range(label, item, min, max, numbers);
  }
  return numbers;
}

std::string BenchTest::name() const {
  std::string text;
  if (n_prompt > 0) text = fmt::format("pp{}", n_prompt);
  if (n_gen > 0) text += fmt::format("{}tg{}", text.empty() ? "" : "+", n_gen);
  return n_depth > 0 ? fmt::format("{} @ d{}", text, n_depth) : text;
}

void BenchSettings::add_to(CLI::App& command) {
  command
      .add_option_function<std::vector<std::string>>(
          "MODEL", [this](const auto& paths) { models.insert(models.end(), paths.begin(), paths.end()); },
          wrap_help("model folders, .gguf files, repo ids in the hub cache, or demo; no tokenizer is needed"))
      ->type_name("");
  const auto list = [&](const std::string& names, const char* label, const char* help, int64_t min, int64_t max,
                        std::vector<int64_t>& member) {
    add_repeated(command, names, "N,...", help, [label, min, max, &member](const std::string& text) {
      const std::vector<int64_t> numbers = parse_number_list(label, text, min, max);
      member.insert(member.end(), numbers.begin(), numbers.end());
    });
  };
  const auto number = [&](const std::string& names, const char* label, const char* metavar, const char* help,
                          int64_t min, int64_t max, int64_t& member) {
    add_value(command, names, metavar, fmt::format("{} [default: {}]", help, member),
              [=, &member](const std::string& text) { member = parse_number(label, text, min, max); });
  };
  for (const char* name : {"--threads", "--max-num-batched-tokens"}) command.remove_option(command.get_option(name));
  for (const char* name : kDecidedByTests) command.get_option(name)->group("");

  const auto take_model = [this](const std::string& path) { models.push_back(path); };
  add_repeated(command, "-m,--model", "MODEL", "the same as MODEL alone", take_model);
  list("-p,--n-prompt", "--n-prompt", "prompt test: tokens of the prompt, 0 is none [default: 512]", 0, kMaxTokens,
       n_prompt);
  list("-n,--n-gen", "--n-gen", "generation test: tokens to generate, 0 is none [default: 128]", 0, kMaxTokens, n_gen);
  add_repeated(command, "--pg", "PP,TG", "one test more: a prompt, then tokens generated after it; also -pg",
               [this](const std::string& text) {
                 const std::vector<int64_t> pair = parse_number_list("--pg", text, 1, kMaxTokens);
                 if (pair.size() != 2)
                   app::fail_flag("--pg", "not two numbers (got '{}', like 512,128)", printable(text));
                 prompt_and_gen.emplace_back(pair[0], pair[1]);
               });
  list("-d,--n-depth", "--n-depth", "tokens in the cache before each test, a multiple of 16 [default: 0]", 0,
       kMaxTokens, n_depth);
  list("-b,--batch-size,--max-num-batched-tokens", "--batch-size", "tokens of one engine step [default: 2048]", 1,
       kMaxTokens, n_batch);
  list("-s,--sequences", "--sequences", "sequences that are computed at the same time [default: 1]", 1, 65536,
       n_sequences);
  list("-t,--threads", "--threads", "worker threads [default: one per core; PACKHORSE_THREADS]", 1, 1024, threads);
  number("-r,--repetitions", "--repetitions", "N", "repetitions of each test", 1, 100000, repetitions);
  number("--delay", "--delay", "SECONDS", "pause before each test", 0, 86400, delay_s);
  command.add_flag("--warmup,!--no-warmup", warmup, "one run of each test that is not measured [default: true]");
  add_value(command, "-o,--output", "FORMAT", "md, json, jsonl or csv [default: md]",
            [this](const std::string& text) { format = parse_format(text); });
  command.add_flag_function(
      "--json", [this](int64_t) { format = BenchFormat::json; }, "the same as -o json");
}

void BenchSettings::finish(const CLI::App& command) {
  for (const char* name : kDecidedByTests) {
    if (command.count(name) > 0) throw Error(ErrorKind::usage, fmt::format("{}: the tests of bench decide this", name));
  }
  if (models.empty()) throw Error(ErrorKind::usage, "no MODEL given (--help tells more)");
  const auto fill = [](std::vector<int64_t>& values, int64_t value) {
    if (values.empty()) values.push_back(value);
  };
  fill(n_prompt, 512);
  fill(n_gen, 128);
  fill(n_depth, 0);
  fill(n_sequences, 1);
  fill(n_batch, engine.max_num_batched_tokens);
  fill(threads, engine.threads);
  for (const int64_t depth : n_depth) {
    if (depth % kDepthUnit) app::fail_flag("--n-depth", "not a multiple of {} (got {})", kDepthUnit, depth);
  }
  if (tests().empty()) throw Error(ErrorKind::usage, "nothing to measure: --n-prompt and --n-gen are 0");
}

std::vector<BenchTest> BenchSettings::tests() const {
  std::vector<BenchTest> tests;
  for (const int64_t sequences : n_sequences) {
    for (const int64_t depth : n_depth) {
      const auto add = [&](int64_t prompt, int64_t gen) {
        if (prompt + gen > 0) tests.push_back({prompt, gen, depth, sequences});
      };
      for (const int64_t prompt : n_prompt) add(prompt, 0);
      for (const int64_t gen : n_gen) add(0, gen);
      for (const auto& [prompt, gen] : prompt_and_gen) add(prompt, gen);
    }
  }
  return tests;
}

EngineOptions BenchSettings::engine_options(const std::string& model, int64_t n_threads, int64_t batch) const {
  EngineOptions options = engine;
  options.model = model;
  options.threads = static_cast<int>(n_threads);
  options.max_num_batched_tokens = batch;
  options.skip_tokenizer_init = true;
  options.generation_config = "vllm";
  options.enable_prefix_caching = false;
  options.max_model_len = 0;
  options.max_num_seqs = 1;
  for (const BenchTest& test : tests()) {
    options.max_model_len = std::max(options.max_model_len, test.context());
    options.max_num_seqs = std::max(options.max_num_seqs, test.n_sequences);
    options.enable_prefix_caching |= test.n_depth > 0;  // what brings the depth into the cache
  }
  return options;
}

}  // namespace packhorse::cli
