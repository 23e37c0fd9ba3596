#include "app/cli/vllm_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "app/engine_flags.h"

namespace packhorse::cli {
namespace {

// They steer speed, placement or logging of vLLM's own parts; no answer depends on them. Names are apart by blanks.
constexpr std::string_view kIgnoredValues =
    "additional-config all2all-backend allowed-local-media-path api-server-count attention-backend attention-config "
    "block-size code-revision cohere-format compilation-config config-format cp-kv-cache-interleave-size "
    "cpu-distributed-timeout-seconds cpu-offload-gb data-parallel-address data-parallel-backend data-parallel-rpc-port "
    "data-parallel-supervisor-port dbo-decode-token-threshold dbo-prefill-token-threshold dcp-comm-backend "
    "dcp-kv-cache-interleave-size default-mm-loras device-ids distributed-executor-backend distributed-timeout-seconds "
    "dp-supervisor-probe-failure-threshold dp-supervisor-probe-interval-s dp-supervisor-probe-timeout-s "
    "dp-sync-interval ec-manager-config enable-log-outputs-interval eplb-config expert-placement-strategy "
    "fault-tolerance-config gdn-prefill-backend guided-decoding-backend h11-max-header-count "
    "h11-max-incomplete-event-size ir-op-priority jit-monitor-mode kda-prefill-backend kernel-config "
    "kv-cache-metrics-sample kv-offloading-backend limit-mm-per-prompt linear-backend logits-processor-pattern "
    "long-prefill-token-threshold lora-dtype lora-extra-vocab-size mamba-backend mamba-block-size mamba-cache-dtype "
    "mamba-cache-mode mamba-cache-philox-rounds mamba-config mamba-ssm-cache-dtype mamba-ssu-algorithm master-addr "
    "master-port max-context-len-to-capture max-cpu-loras max-cudagraph-capture-size max-long-partial-prefills "
    "max-num-partial-prefills max-num-scheduled-tokens max-parallel-loading-workers max-seq-len-to-capture "
    "media-io-kwargs mm-encoder-attn-backend mm-encoder-attn-dtype mm-encoder-fp8-scale-path "
    "mm-encoder-fp8-scale-save-margin mm-encoder-fp8-scale-save-path mm-encoder-tp-mode mm-hasher-algorithm "
    "mm-ipc-gpu-memory-gb mm-processor-cache-gb mm-processor-cache-type mm-processor-device "
    "mm-shm-cache-max-object-size-mb mm-tensor-ipc model-impl model-loader-extra-config moe-backend "
    "num-lookahead-slots num-scheduler-steps observability-config offload-backend offload-group-size "
    "offload-num-in-group offload-prefetch-step optimization-level override-neuron-config "
    "per-request-spec-decode-metrics performance-mode preemption-mode prefill-schedule-interval "
    "prefix-cache-retention-interval prefix-caching-hash-algo prefix-match-unit profiler-config pt-load-map-location "
    "renderer-num-workers replayssm-buffer-len safetensors-load-strategy safetensors-prefetch-block-size "
    "safetensors-prefetch-num-threads show-hidden-metrics-for-version stream-interval "
    "swap-space tokenizer-mode tokenizer-pool-extra-config tokenizer-pool-size tokenizer-pool-type tokenizer-revision "
    "ubatch-size video-pruning-method video-pruning-rate watermark";
constexpr std::string_view kIgnoredLists =
    "allowed-media-domains collect-detailed-traces cpu-offload-params cuda-graph-sizes cudagraph-capture-sizes "
    "ignore-patterns lora-target-modules numa-bind-cpus numa-bind-nodes offload-params";
constexpr std::string_view kIgnoredSwitches =
    "aggregate-engine-logging allow-deprecated-quantization async-scheduling cascade-attn cohere-is-reasoning-model "
    "cudagraph-metrics dcp-q-replicate disable-async-output-proc disable-cascade-attn disable-chunked-mm-input "
    "disable-custom-all-reduce disable-fastapi-docs disable-frontend-multiprocessing disable-hybrid-kv-cache-manager "
    "disable-log-requests disable-mm-preprocessor-cache disable-nccl-for-dp-synchronization "
    "enable-batch-sharded-sampling enable-bf16x3-router-gemm enable-chunked-prefill enable-cumem-allocator enable-dbo "
    "enable-elastic-ep enable-ep-weight-filter enable-expert-parallel enable-fault-tolerance "
    "enable-flash-late-interaction enable-flashinfer-autotune enable-layerwise-nvtx-tracing enable-log-deltas "
    "enable-log-outputs enable-logging-iteration-details enable-lora-bias enable-mamba-cache-stochastic-rounding "
    "enable-mfu-metrics enable-mixed-moe-lora-format enable-mm-embeds enable-mm-processor-stats "
    "enable-moe-shared-loras enable-multimodal-encoder-data-parallel enable-nccl-comm-suspend enable-offline-docs "
    "enable-reasoning enable-server-load-tracking enable-ssl-refresh enable-tower-connector-lora enforce-eager "
    "exclude-tools-when-tool-choice-none fail-on-environ-validation full-cuda-graph fully-sharded-loras "
    "guided-decoding-disable-additional-properties guided-decoding-disable-any-whitespace "
    "guided-decoding-disable-fallback interleave-mm-strings jit-monitor-verbose kv-cache-metrics "
    "kv-sharing-fast-prefill language-model-only log-error-stack mm-device-do-normalize multi-step-stream-outputs "
    "numa-bind ray-workers-use-nsight scheduler-reserve-full-isl skip-mm-profiling specialize-active-lora "
    "use-fp64-gumbel use-replayssm use-tqdm-on-load use-v2-block-manager worker-use-ray";

/// A feature that is not there, and the values that ask for nothing.
struct Missing {
  enum class Kind : uint8_t { value, list, toggle };
  std::string_view name, why;
  std::array<std::string_view, 3> idle{};
  Kind kind = Kind::value;
};
constexpr Missing missing_list(std::string_view name, std::string_view why) {
  return {name, why, {}, Missing::Kind::list};
}
constexpr Missing missing_switch(std::string_view name, std::string_view why) {
  return {name, why, {}, Missing::Kind::toggle};
}

constexpr std::string_view kOneCopy = "one process serves one copy of the model", kOneDevice = "the model is not split",
                           kAdapters = "there are no adapters (LoRA and the like)",
                           kForeignCode = "no code but that of Packhorse is run",
                           kOwnConfig = "a checkpoint's config.json is taken as it is",
                           kSpeculation = "there is no speculative decoding", kQueue = "see --max-queue",
                           kTasks = "models answer and embed, nothing else",
                           kOwnCache = "the KV cache stays in memory and is shared with nobody";
constexpr auto kMissing = std::to_array<Missing>({
    {"runner", kTasks, {"auto", "generate", "pooling"}},
    {"convert", kTasks, {"auto", "none", "embed"}},
    {"task", kTasks, {"auto", "generate", "embed"}},
    missing_switch("mm-encoder-only", kTasks),
    {"diffusion-config", kTasks, {"null"}},
    {"mm-processor-kwargs", kTasks, {"{}", "null"}},
    {"override-pooler-config", "see --pooler-config", {"null"}},
    {"data-parallel-size", kOneCopy, {"1"}},
    {"data-parallel-size-local", kOneCopy, {"1"}},
    {"data-parallel-rank", kOneCopy, {"0"}},
    {"data-parallel-start-rank", kOneCopy, {"0"}},
    missing_switch("data-parallel-hybrid-lb", kOneCopy),
    missing_switch("data-parallel-external-lb", kOneCopy),
    missing_switch("data-parallel-multi-port-external-lb", kOneCopy),
    missing_switch("headless", kOneCopy),
    {"nnodes", kOneDevice, {"1"}},
    {"node-rank", kOneDevice, {"0"}},
    {"pipeline-parallel-size", kOneDevice, {"1"}},
    {"decode-context-parallel-size", kOneDevice, {"1"}},
    {"prefill-context-parallel-size", kOneDevice, {"1"}},
    missing_switch("enable-eplb", kOneDevice),
    {"hf-overrides", kOwnConfig, {"{}", "null"}},
    {"hf-config-path", kOwnConfig},
    {"rope-scaling", kOwnConfig, {"{}", "null"}},
    {"rope-theta", kOwnConfig},
    missing_switch("disable-sliding-window", kOwnConfig),
    {"model-class-overrides", kForeignCode, {"{}", "null"}},
    {"tool-parser-plugin", kForeignCode},
    {"reasoning-parser-plugin", kForeignCode},
    {"io-processor-plugin", kForeignCode},
    {"scheduler-cls", kForeignCode},
    {"worker-cls", kForeignCode, {"auto"}},
    {"worker-extension-cls", kForeignCode},
    missing_list("logits-processors", kForeignCode),
    missing_list("middleware", kForeignCode),
    {"speculative-config", kSpeculation, {"null"}},
    {"spec-method", kSpeculation},
    {"spec-model", kSpeculation},
    {"spec-tokens", kSpeculation},
    {"speculative-model", kSpeculation},
    {"num-speculative-tokens", kSpeculation},
    missing_switch("enable-lora", kAdapters),
    missing_list("lora-modules", kAdapters),
    {"max-loras", kAdapters, {"1"}},
    {"max-lora-rank", kAdapters, {"16"}},
    missing_switch("enable-prompt-adapter", kAdapters),
    missing_list("prompt-adapters", kAdapters),
    {"qlora-adapter-name-or-path", kAdapters},
    missing_list("kv-cache-dtype-skip-layers", "all layers share one --kv-cache-dtype"),
    {"quantization-param-path", "scales of keys and values come with the checkpoint or --calculate-kv-scales"},
    {"kv-transfer-config", kOwnCache, {"null"}},
    {"ec-transfer-config", kOwnCache, {"null"}},
    {"kv-events-config", kOwnCache, {"null"}},
    {"kv-offloading-size", kOwnCache},
    {"weight-transfer-config", "weights stay as they were loaded", {"null"}},
    missing_switch("enable-sleep-mode", "the engine is always awake"),
    {"logprobs-mode", "log-probabilities are those before penalties and temperature", {"raw_logprobs"}},
    missing_switch("enable-prompt-embeds", "prompts are texts or token ids"),
    missing_switch("enable-return-routed-experts", "answers do not tell of experts"),
    missing_switch("return-sampling-mask", "answers do not tell of masks"),
    missing_switch("enable-trace-replay", "answers are always sampled"),
    missing_switch("enable-per-request-metrics", "times are in /metrics alone"),
    missing_switch("tokens-only", "all routes are there"),
    missing_switch("grpc", "the server speaks HTTP"),
    {"fingerprint-mode", "answers have no fingerprint", {"none"}},
    {"fingerprint-value", "answers have no fingerprint"},
    {"reasoning-config", "reasoning has no budget of its own", {"{}", "null"}},
    {"max-num-queued-reqs", kQueue},
    {"max-num-queued-tokens", kQueue},
    {"log-config-file", "see --log-level and --access-log-format"},
    {"tool-server", "tools are called by clients alone"},
    {"otlp-traces-endpoint", "there are no traces"},
});

constexpr auto kLetters = std::to_array<std::pair<std::string_view, std::string_view>>({
    {"-O", "optimization-level"},
    {"-ac", "attention-config"},
    {"-asc", "api-server-count"},
    {"-cc", "compilation-config"},
    {"-dc", "diffusion-config"},
    {"-dcp", "decode-context-parallel-size"},
    {"-dp", "data-parallel-size"},
    {"-dpa", "data-parallel-address"},
    {"-dpb", "data-parallel-backend"},
    {"-dpe", "data-parallel-external-lb"},
    {"-dph", "data-parallel-hybrid-lb"},
    {"-dpl", "data-parallel-size-local"},
    {"-dpm", "data-parallel-multi-port-external-lb"},
    {"-dpn", "data-parallel-rank"},
    {"-dpp", "data-parallel-rpc-port"},
    {"-dpr", "data-parallel-start-rank"},
    {"-ep", "enable-expert-parallel"},
    {"-n", "nnodes"},
    {"-pcp", "prefill-context-parallel-size"},
    {"-pp", "pipeline-parallel-size"},
    {"-r", "node-rank"},
    {"-sc", "speculative-config"},
    {"-tp", "tensor-parallel-size"},
});

template <class Use>
void for_each_word(std::string_view words, Use&& use) {
  while (!words.empty()) {
    const std::string_view word = words.substr(0, words.find(' '));
    words.remove_prefix(std::min(word.size() + 1, words.size()));
    use(word);
  }
}

bool has_word(std::string_view words, std::string_view wanted) {
  bool found = false;
  for_each_word(words, [&](std::string_view word) { found |= word == wanted; });
  return found;
}

void take_values(const Missing& flag, std::string_view label, const std::vector<std::string>& values) {
  for (const std::string& value : values) {
    const std::string_view meaning = value.empty() ? "null" : std::string_view(value);
    if (std::find(flag.idle.begin(), flag.idle.end(), meaning) == flag.idle.end())
      app::fail_flag(label, "not supported: {} (got '{}')", flag.why, printable(value));
  }
}

void take_switch(const Missing& flag, std::string_view label, bool is_on) {
  if (is_on) app::fail_flag(label, "not supported: {}", flag.why);
}

}  // namespace

void add_vllm_flags(CLI::App& command, std::vector<std::string>& ignored) {
  const auto add_list = [&](std::string_view name, const std::function<void(const std::vector<std::string>&)>& take) {
    command.add_option_function<std::vector<std::string>>(fmt::format("--{}", name), take)
        ->expected(1, -1)
        ->allow_extra_args()
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->group("");
  };
  const auto add_value = [&](std::string_view name, const std::function<void(const std::string&)>& take) {
    command.add_option_function<std::string>(fmt::format("--{}", name), take)->group("");
  };
  const auto add_switch = [&](std::string_view name, std::function<void(int64_t)> take) {
    command.add_flag_function(fmt::format("--{},!--no-{}", name, name), std::move(take))->group("");
  };
  for_each_word(kIgnoredValues, [&](std::string_view name) {
    add_value(name, [&ignored, name](const std::string&) { ignored.push_back(fmt::format("--{}", name)); });
  });
  for_each_word(kIgnoredLists, [&](std::string_view name) {
    add_list(name, [&ignored, name](const auto&) { ignored.push_back(fmt::format("--{}", name)); });
  });
  for_each_word(kIgnoredSwitches, [&](std::string_view name) {
    add_switch(name,
               [&ignored, name](int64_t n) { ignored.push_back(fmt::format("--{}{}", n < 0 ? "no-" : "", name)); });
  });
  for (const Missing& flag : kMissing) {
    const std::string label = fmt::format("--{}", flag.name);
    if (flag.kind == Missing::Kind::list)
      add_list(flag.name, [&flag, label](const auto& values) { take_values(flag, label, values); });
    else if (flag.kind == Missing::Kind::value)
      add_value(flag.name, [&flag, label](const std::string& value) { take_values(flag, label, {value}); });
    else
      add_switch(flag.name, [&flag, label](int64_t n) { take_switch(flag, label, n > 0); });
  }
}

bool take_vllm_flag(std::string_view name, const std::vector<std::string>& values, std::string_view label,
                    std::vector<std::string>& ignored) {
  const bool is_opposite = name.starts_with("no-");
  const std::string_view switch_name = is_opposite ? name.substr(3) : name;
  if (has_word(kIgnoredValues, name) || has_word(kIgnoredLists, name) || has_word(kIgnoredSwitches, switch_name)) {
    ignored.emplace_back(name);
    return true;
  }
  if (name == "weights-load-device") return true;  // one of the engine's flags that nobody needs to be told of
  for (const Missing& flag : kMissing) {
    const bool is_switch = flag.kind == Missing::Kind::toggle;
    if (flag.name != (is_switch ? switch_name : name)) continue;
    bool is_on = false;
    if (is_switch) app::set_from_text({}, label, values.empty() ? "" : values.front(), is_on);
    if (is_switch)
      take_switch(flag, label, is_on != is_opposite);
    else
      take_values(flag, label, values);
    return true;
  }
  return false;
}

std::string with_long_name(const std::string& argument) {
  const std::string_view text = argument;
  if (text.starts_with("-O") && text.size() > 2 && text[2] != '=' && text[2] != '.')  // its value follows at once
    return fmt::format("--optimization-level={}", text.substr(2));
  const size_t end = std::min(text.find_first_of("=."), text.size());
  const auto* const found = std::find_if(kLetters.begin(), kLetters.end(),
                                         [&](const auto& letters) { return letters.first == text.substr(0, end); });
  return found == kLetters.end() ? argument : fmt::format("--{}{}", found->second, text.substr(end));
}

}  // namespace packhorse::cli
