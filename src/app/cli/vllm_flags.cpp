#include "app/cli/vllm_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "packhorse/packhorse.h"

namespace packhorse::cli {
namespace {

/// They steer speed, placement or logging of vLLM's own parts; no answer depends on them.
constexpr std::array<std::string_view, 52> kIgnoredValues = {"allowed-local-media-path",
                                                             "attention-backend",
                                                             "attention-config",
                                                             "block-size",
                                                             "compilation-config",
                                                             "config-format",
                                                             "cpu-offload-gb",
                                                             "data-parallel-address",
                                                             "data-parallel-backend",
                                                             "data-parallel-rpc-port",
                                                             "data-parallel-size-local",
                                                             "disable-hybrid-kv-cache-manager",
                                                             "distributed-executor-backend",
                                                             "enable-log-outputs-interval",
                                                             "h11-max-header-count",
                                                             "h11-max-incomplete-event-size",
                                                             "ignore-patterns",
                                                             "kv-events-config",
                                                             "limit-mm-per-prompt",
                                                             "linear-backend",
                                                             "long-prefill-token-threshold",
                                                             "master-addr",
                                                             "master-port",
                                                             "max-cudagraph-capture-size",
                                                             "max-long-partial-prefills",
                                                             "max-num-partial-prefills",
                                                             "max-parallel-loading-workers",
                                                             "mm-processor-cache-gb",
                                                             "mm-encoder-tp-mode",
                                                             "model-impl",
                                                             "model-loader-extra-config",
                                                             "moe-backend",
                                                             "nnodes",
                                                             "node-rank",
                                                             "num-lookahead-slots",
                                                             "observability-config",
                                                             "optimization-level",
                                                             "prefix-caching-hash-algo",
                                                             "profiler-config",
                                                             "renderer-num-workers",
                                                             "scheduler-cls",
                                                             "stream-interval",
                                                             "structured-outputs-config",
                                                             "tokenizer-mode",
                                                             "tokenizer-revision",
                                                             "worker-cls",
                                                             "worker-extension-cls",
                                                             "max-seq-len-to-capture",
                                                             "num-scheduler-steps",
                                                             "swap-space",
                                                             "guided-decoding-backend",
                                                             "api-server-count"};
constexpr std::array<std::string_view, 26> kIgnoredSwitches = {"allow-deprecated-quantization",
                                                               "async-scheduling",
                                                               "cascade-attn",
                                                               "disable-cascade-attn",
                                                               "disable-chunked-mm-input",
                                                               "disable-custom-all-reduce",
                                                               "disable-fastapi-docs",
                                                               "disable-frontend-multiprocessing",
                                                               "disable-log-requests",
                                                               "disable-nccl-for-dp-synchronization",
                                                               "enable-chunked-prefill",
                                                               "enable-dbo",
                                                               "enable-expert-parallel",
                                                               "enable-log-outputs",
                                                               "enable-server-load-tracking",
                                                               "enable-ssl-refresh",
                                                               "enforce-eager",
                                                               "exclude-tools-when-tool-choice-none",
                                                               "headless",
                                                               "kv-sharing-fast-prefill",
                                                               "log-error-stack",
                                                               "numa-bind",
                                                               "ray-workers-use-nsight",
                                                               "scheduler-reserve-full-isl",
                                                               "use-tqdm-on-load",
                                                               "use-v2-block-manager"};

/// A feature that is not there, and the values that ask for nothing.
struct Missing {
  std::string_view name;
  std::array<std::string_view, 3> idle{};
};
constexpr std::array<Missing, 32> kMissing = {{
    {"runner", {"auto", "generate", "pooling"}},  // every model answers and embeds
    {"convert", {"auto", "none", "embed"}},
    {"task", {"auto", "generate", "embed"}},
    {"data-parallel-size", {"1"}},
    {"pipeline-parallel-size", {"1"}},
    {"decode-context-parallel-size", {"1"}},
    {"prefill-context-parallel-size", {"1"}},
    {"hf-overrides", {"{}", "null"}},
    {"hf-config-path"},
    {"logits-processors", {"[]"}},
    {"mm-processor-kwargs", {"{}", "null"}},
    {"speculative-config", {"null"}},
    {"spec-method"},
    {"spec-model"},
    {"spec-tokens"},
    {"lora-modules"},
    {"max-loras", {"1"}},
    {"max-lora-rank", {"16"}},
    {"kv-cache-memory-bytes"},
    {"kv-cache-dtype-skip-layers", {"[]"}},
    {"kv-transfer-config", {"null"}},
    {"ec-transfer-config", {"null"}},
    {"kv-offloading-size"},
    {"logprobs-mode", {"raw_logprobs"}},
    {"override-generation-config", {"{}"}},
    {"log-config-file"},
    {"middleware", {"[]"}},
    {"tool-server"},
    {"tool-parser-plugin"},
    {"reasoning-parser-plugin"},
    {"weight-transfer-config", {"null"}},
    {"otlp-traces-endpoint"},
}};
constexpr std::array<std::string_view, 5> kMissingSwitches = {
    "enable-lora", "enable-sleep-mode", "enable-prompt-embeds", "enable-eplb", "enable-return-routed-experts"};

bool has(const auto& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void take_missing(const Missing& flag, std::string_view label, std::string_view value) {
  if (!value.empty() && has(flag.idle, value)) return;
  throw Error(ErrorKind::usage, fmt::format("{}: vLLM has it, Packhorse does not (got '{}')", label, printable(value)));
}
[[noreturn]] void fail_switch(std::string_view label) {
  throw Error(ErrorKind::usage, fmt::format("{}: vLLM has it, Packhorse does not", label));
}

}  // namespace

void add_vllm_flags(CLI::App& command, std::vector<std::string>& ignored) {
  const auto add_option = [&](std::string_view name, const std::function<void(const std::string&)>& take) {
    command.add_option_function<std::string>(fmt::format("--{}", name), take)->group("");
  };
  const auto add_switch = [&](std::string_view name, std::function<void(int64_t)> take) {
    command.add_flag_function(fmt::format("--{},!--no-{}", name, name), std::move(take))->group("");
  };
  for (const std::string_view name : kIgnoredValues)
    add_option(name, [&ignored, name](const std::string&) { ignored.push_back(fmt::format("--{}", name)); });
  for (const std::string_view name : kIgnoredSwitches)
    add_switch(name,
               [&ignored, name](int64_t n) { ignored.push_back(fmt::format("--{}{}", n < 0 ? "no-" : "", name)); });
  for (const Missing& flag : kMissing)
    add_option(flag.name,
               [&flag](const std::string& value) { take_missing(flag, fmt::format("--{}", flag.name), value); });
  for (const std::string_view name : kMissingSwitches)
    add_switch(name, [name](int64_t n) {
      if (n > 0) fail_switch(fmt::format("--{}", name));
    });
}

bool take_vllm_flag(std::string_view name, std::string_view value, std::string_view label,
                    std::vector<std::string>& ignored) {
  if (has(kIgnoredValues, name) || has(kIgnoredSwitches, name)) {
    ignored.emplace_back(name);
    return true;
  }
  if (has(kMissingSwitches, name)) {
    if (value != "false") fail_switch(label);
    return true;
  }
  const auto it =
      std::find_if(kMissing.begin(), kMissing.end(), [&](const Missing& flag) { return flag.name == name; });
  if (it == kMissing.end()) return false;
  take_missing(*it, label, value);
  return true;
}

}  // namespace packhorse::cli
