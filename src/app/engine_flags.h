#pragma once
// Every option of the engine, once: name, meaning and range; the default is EngineOptions' own. The command line, its
// help, the environment and the Python binding all visit this table.

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "packhorse/packhorse.h"

namespace packhorse::app {

struct Flag {
  std::string_view name{};  // "max-model-len"; with underscores in Python, PACKHORSE_MAX_MODEL_LEN in the environment
  std::string_view metavar{};
  std::string_view help{};
  std::string_view unset{};  // how the help calls a default that stands for "not given"
  char letter = 0;           // 'q' for "-q"
  double min = 0, max = 0;   // of numbers
  bool takes_auto = false;   // "auto" and -1 are for 0

  constexpr Flag or_else(std::string_view meaning) const {
    Flag flag = *this;
    flag.unset = meaning;
    return flag;
  }
  constexpr Flag also(char short_name) const {
    Flag flag = *this;
    flag.letter = short_name;
    return flag;
  }
  constexpr Flag within(double lowest, double highest) const {
    Flag flag = *this;
    flag.min = lowest, flag.max = highest;
    return flag;
  }

  constexpr Flag or_auto() const {
    Flag flag = *this;
    flag.takes_auto = true;
    return flag;
  }

  std::string long_name() const { return fmt::format("--{}", name); }
  std::string python_name() const {
    std::string text(name);
    for (char& c : text) c = c == '-' ? '_' : c;
    return text;
  }
  std::string variable() const {
    std::string text = "PACKHORSE_" + python_name();
    for (char& c : text) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    return text;
  }
};

/// Calls visit(Flag, member) for each option; members are std::string, bool, int, int64_t, uint64_t and double.
template <class Options, class Visitor>
void visit_flags(Options& o, Visitor&& visit) {
  constexpr double kMaxTokens = 1 << 27, kMaxInt = 1 << 30, kMaxSeed = 0x1p53;  // exact as doubles
  const auto flag = [](std::string_view name, std::string_view metavar, std::string_view help) {
    return Flag{name, metavar, help};
  };
  visit(flag("quantization", "METHOD", "quantization method (`inspect --formats` lists them)")
            .or_else("what the checkpoint says")
            .also('q'),
        o.quantization);
  visit(flag("quantization-config", "JSON", "settings of the method, or a file of them"), o.quantization_config);
  visit(flag("dtype", "TYPE", "auto, float32, bfloat16 or float16"), o.dtype);
  visit(flag("load-format", "FORMAT", "auto, safetensors, gguf or bitsandbytes"), o.load_format);
  visit(flag("kv-cache-dtype", "TYPE",
             "auto, float32, bfloat16, float16, fp8, fp8_e5m2, fp8_per_token_head, int8_per_token_head or "
             "int4_per_token_head"),
        o.kv_cache_dtype);
  visit(flag("calculate-kv-scales", "", "measure the scales of an fp8 KV cache where the checkpoint has none"),
        o.calculate_kv_scales);
  visit(flag("max-model-len", "TOKENS",
             "context of one request; 1k is 1000, 1K is 1024, auto the model's own as far as the KV cache holds it")
            .or_else("auto")
            .or_auto()
            .within(1, kMaxTokens),
        o.max_model_len);
  visit(flag("max-num-seqs", "N", "requests that run at the same time").within(1, 65536), o.max_num_seqs);
  visit(flag("max-num-batched-tokens", "TOKENS", "tokens of one engine step").within(1, kMaxTokens),
        o.max_num_batched_tokens);
  visit(flag("scheduling-policy", "POLICY", "fcfs (oldest first) or priority (that of the request, then age)"),
        o.scheduling_policy);
  visit(flag("max-logprobs", "N", "log-probabilities that a request may ask for; -1 is all").within(-1, kMaxInt),
        o.max_logprobs);
  visit(flag("tensor-parallel-size", "N", "devices to split the model over, also -tp").within(1, 1024),
        o.tensor_parallel_size);
  visit(flag("gpu-memory-utilization", "SHARE", "share of a GPU's memory to use").within(0, 1),
        o.gpu_memory_utilization);
  visit(flag("kv-cache-memory-bytes", "BYTES", "size of the KV cache; 2G is 2 GiB")
            .or_else("what memory allows")
            .within(1, 0x1p50),
        o.kv_cache_memory_bytes);
  visit(flag("num-gpu-blocks-override", "N", "KV cache blocks").or_else("what memory allows").within(1, kMaxInt),
        o.num_kv_blocks_override);
  visit(flag("enable-prefix-caching", "", "reuse the KV cache of equal prompt beginnings"), o.enable_prefix_caching);
  visit(flag("device", "DEVICE", "auto, cpu or cuda"), o.device);
  visit(flag("threads", "N", "worker threads").or_else("one per core").within(1, 4096), o.threads);
  visit(flag("isa", "NAME", "upper limit of the instruction set").or_else("the best there is"), o.isa);
  visit(flag("force-kernel", "PREFIX", "use only kernels whose name starts so"), o.force_kernel);
  visit(flag("tokenizer", "PATH", "tokenizer folder or file").or_else("the model's own"), o.tokenizer);
  visit(flag("skip-tokenizer-init", "", "load no tokenizer: token ids in, token ids out"), o.skip_tokenizer_init);
  visit(flag("chat-template", "JINJA", "template text or file").or_else("the model's own"), o.chat_template);
  visit(flag("generation-config", "SOURCE", "sampling defaults: auto (the model's), vllm (none) or a folder"),
        o.generation_config);
  visit(flag("override-generation-config", "JSON",
             "sampling defaults over those of --generation-config: temperature, top_p, top_k, min_p, "
             "repetition_penalty, max_new_tokens (limits all answers)"),
        o.override_generation_config);
  visit(flag("revision", "NAME", "branch, tag or commit of a repo id").or_else("main"), o.revision);
  visit(flag("download-dir", "PATH", "hub cache").or_else("HF_HUB_CACHE"), o.download_dir);
  visit(flag("hf-token", "TOKEN", "access token of the hub"), o.hf_token);
  visit(flag("trust-remote-code", "", "accepted; code of a checkpoint is never run"), o.trust_remote_code);
  visit(flag("verbose", "", "name every tensor that the model has no use for").also('v'), o.verbose);
  visit(flag("seed", "N", "seed of the random numbers").within(0, kMaxSeed), o.seed);
}

/// `label` names the option as the user wrote it: "--seed", "PACKHORSE_SEED" or "seed".
template <class... Args>
[[noreturn]] void fail_flag(std::string_view label, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::usage, fmt::format("{}: {}", label, fmt::format(format, std::forward<Args>(args)...)));
}

template <class Number>
void check_range(const Flag& flag, std::string_view label, Number value) {
  const auto number = static_cast<double>(value);
  if (!(number >= flag.min && number <= flag.max)) {
    fail_flag(label, "out of range (got {}, allowed {} to {})", value, flag.min, flag.max);
  }
}

/// Whole number as people write sizes: 1k is 1000, 1K is 1024, likewise m and g; 25.6k is 25600. Nothing for other
/// text.
inline std::optional<double> parse_count(std::string_view text) {
  double unit = 1;
  if (!text.empty()) {
    constexpr std::string_view kUnits = "kmgKMG";
    constexpr double kFactors[] = {1e3, 1e6, 1e9, 0x1p10, 0x1p20, 0x1p30};
    if (const size_t i = kUnits.find(text.back()); i != kUnits.npos) {
      unit = kFactors[i];
      text.remove_suffix(1);
    }
  }
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  number *= unit;
  const double whole = std::round(number);  // 16.1 has no exact double, and 16.1k is whole all the same
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(number) ||
      std::abs(number - whole) > 1e-12 * std::abs(whole)) {
    return std::nullopt;
  }
  return whole;
}

inline void set_from_text(const Flag&, std::string_view label, std::string_view text, std::string& member) {
  if (text.empty()) fail_flag(label, "needs a value (got an empty text)");
  member = text;
}
inline void set_from_text(const Flag&, std::string_view label, std::string_view text, bool& member) {
  const bool on = text == "1" || text == "true" || text == "yes" || text == "on";
  if (!on && text != "0" && text != "false" && text != "no" && text != "off") {
    fail_flag(label, "not true or false (got '{}')", printable(text));
  }
  member = on;
}
inline void set_from_text(const Flag& flag, std::string_view label, std::string_view text, double& member) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    fail_flag(label, "not a number (got '{}', allowed {} to {})", printable(text), flag.min, flag.max);
  }
  check_range(flag, label, number);
  member = number;
}
template <std::integral Integer>
void set_from_text(const Flag& flag, std::string_view label, std::string_view text, Integer& member) {
  if (flag.takes_auto && (text == "auto" || text == "-1")) {
    member = 0;
    return;
  }
  const std::optional<double> number = parse_count(text);
  if (!number) {
    fail_flag(label, "not a whole number (got '{}', allowed {} to {})", printable(text), flag.min, flag.max);
  }
  check_range(flag, label, *number);
  member = static_cast<Integer>(*number);
}

/// Takes from the environment what `is_given(flag)` says was not given otherwise.
template <class IsGiven>
void apply_environment(EngineOptions& options, IsGiven&& is_given) {
  visit_flags(options, [&](const Flag& flag, auto& member) {
    const std::string variable = flag.variable();
    const char* text = std::getenv(variable.c_str());
    if (text && *text && !is_given(flag)) set_from_text(flag, variable, text, member);
  });
}

/// Options that name what this build cannot do.
inline void check_supported(const EngineOptions& options) {
  if (options.tensor_parallel_size != 1) {
    throw Error(ErrorKind::usage,
                fmt::format("tensor-parallel-size: only 1 is supported so far (got {})", options.tensor_parallel_size));
  }
  if (options.device.starts_with("cuda")) {
    throw Error(ErrorKind::resource, fmt::format("device '{}': this build runs on CPUs only (needed: a CUDA build)",
                                                 printable(options.device)));
  }
  if (options.device != "auto" && options.device != "cpu") {
    throw Error(ErrorKind::usage,
                fmt::format("device: unknown name '{}' (allowed: auto, cpu, cuda)", printable(options.device)));
  }
}

}  // namespace packhorse::app
