#include "app/vllm_flags.h"

#include <algorithm>
#include <vector>

namespace packhorse::app {
namespace {

// They steer speed, placement or logging of vLLM's own parts; no answer depends on them. Names are apart by blanks.
constexpr std::string_view kIgnoredValues =
    "additional-config all2all-backend allowed-local-media-path api-server-count attention-backend attention-config "
    "block-size code-revision cohere-format compilation-config config-format cp-kv-cache-interleave-size "
    "cpu-distributed-timeout-seconds cpu-offload-gb data-parallel-address data-parallel-backend "
    "data-parallel-rpc-port data-parallel-supervisor-port dbo-decode-token-threshold dbo-prefill-token-threshold "
    "dcp-comm-backend dcp-kv-cache-interleave-size default-mm-loras device-ids distributed-executor-backend "
    "distributed-timeout-seconds dp-supervisor-probe-failure-threshold dp-supervisor-probe-interval-s "
    "dp-supervisor-probe-timeout-s dp-sync-interval ec-manager-config eplb-config expert-placement-strategy "
    "fault-tolerance-config gdn-prefill-backend h11-max-header-count h11-max-incomplete-event-size ir-op-priority "
    "jit-monitor-mode kda-prefill-backend kernel-config kv-cache-metrics-sample kv-offloading-backend "
    "limit-mm-per-prompt linear-backend logits-processor-pattern long-prefill-token-threshold lora-dtype "
    "lora-extra-vocab-size mamba-backend mamba-block-size mamba-cache-dtype mamba-cache-mode "
    "mamba-cache-philox-rounds mamba-config mamba-ssm-cache-dtype mamba-ssu-algorithm master-addr master-port "
    "max-context-len-to-capture max-cpu-loras max-cudagraph-capture-size max-long-partial-prefills "
    "max-num-partial-prefills max-num-scheduled-tokens max-parallel-loading-workers media-io-kwargs "
    "mm-encoder-attn-backend mm-encoder-attn-dtype mm-encoder-fp8-scale-path mm-encoder-fp8-scale-save-margin "
    "mm-encoder-fp8-scale-save-path mm-encoder-tp-mode mm-hasher-algorithm mm-ipc-gpu-memory-gb "
    "mm-processor-cache-gb mm-processor-cache-type mm-processor-device mm-shm-cache-max-object-size-mb mm-tensor-ipc "
    "model-impl model-loader-extra-config moe-backend num-lookahead-slots num-scheduler-steps observability-config "
    "offload-backend offload-group-size offload-num-in-group offload-prefetch-step optimization-level "
    "override-neuron-config per-request-spec-decode-metrics performance-mode preemption-mode "
    "prefill-schedule-interval prefix-cache-retention-interval prefix-caching-hash-algo prefix-match-unit "
    "profiler-config pt-load-map-location renderer-num-workers replayssm-buffer-len safetensors-load-strategy "
    "safetensors-prefetch-block-size safetensors-prefetch-num-threads show-hidden-metrics-for-version "
    "stream-interval tokenizer-mode tokenizer-pool-extra-config tokenizer-pool-size tokenizer-pool-type ubatch-size "
    "video-pruning-method video-pruning-rate watermark";
constexpr std::string_view kIgnoredLists =
    "allowed-media-domains collect-detailed-traces cpu-offload-params cuda-graph-sizes cudagraph-capture-sizes "
    "ignore-patterns lora-target-modules numa-bind-cpus numa-bind-nodes offload-params";
constexpr std::string_view kIgnoredSwitches =
    "aggregate-engine-logging allow-deprecated-quantization async-scheduling cohere-is-reasoning-model "
    "cudagraph-metrics dcp-q-replicate disable-async-output-proc disable-cascade-attn disable-chunked-mm-input "
    "disable-custom-all-reduce disable-fastapi-docs disable-frontend-multiprocessing disable-hybrid-kv-cache-manager "
    "disable-log-requests disable-mm-preprocessor-cache disable-nccl-for-dp-synchronization "
    "enable-batch-sharded-sampling enable-bf16x3-router-gemm enable-chunked-prefill enable-cumem-allocator "
    "enable-dbo enable-elastic-ep enable-ep-weight-filter enable-expert-parallel enable-fault-tolerance "
    "enable-flash-late-interaction enable-flashinfer-autotune enable-layerwise-nvtx-tracing enable-log-deltas "
    "enable-log-outputs enable-logging-iteration-details enable-lora-bias enable-mamba-cache-stochastic-rounding "
    "enable-mfu-metrics enable-mixed-moe-lora-format enable-mm-embeds enable-mm-processor-stats "
    "enable-moe-shared-loras enable-multimodal-encoder-data-parallel enable-nccl-comm-suspend enable-offline-docs "
    "enable-reasoning enable-server-load-tracking enable-ssl-refresh enable-tower-connector-lora enforce-eager "
    "fail-on-environ-validation full-cuda-graph fully-sharded-loras guided-decoding-disable-additional-properties "
    "guided-decoding-disable-fallback interleave-mm-strings jit-monitor-verbose kv-cache-metrics "
    "kv-sharing-fast-prefill language-model-only log-error-stack mm-device-do-normalize multi-step-stream-outputs "
    "numa-bind ray-workers-use-nsight scheduler-reserve-full-isl skip-mm-profiling specialize-active-lora "
    "use-fp64-gumbel use-replayssm use-tqdm-on-load use-v2-block-manager worker-use-ray";
// Of older releases.
constexpr std::string_view kOldValues = "guided-decoding guided-decoding-backend max-seq-len-to-capture swap-space";

constexpr VllmFlag missing_list(std::string_view name, std::string_view why) {
  return {name, why, {"[]"}, VllmFlag::Kind::list};
}
constexpr VllmFlag missing_switch(std::string_view name, std::string_view why) {
  return {name, why, {"false"}, VllmFlag::Kind::toggle};
}

constexpr std::string_view kOneCopy = "one process serves one copy of the model", kOneDevice = "the model is not split",
                           kAdapters = "there are no adapters (LoRA and the like)",
                           kForeignCode = "no code but that of Packhorse is run",
                           kOwnConfig = "a checkpoint's config.json is taken as it is",
                           kSpeculation = "there is no speculative decoding",
                           kQueue = "the server's limit is --max-queue",
                           kTasks = "models answer and embed, nothing else",
                           kOwnCache = "the KV cache stays in memory and is shared with nobody";
constexpr auto kMissing = std::to_array<VllmFlag>({
    {"runner", kTasks, {"auto", "generate", "pooling"}},
    {"convert", kTasks, {"auto", "none", "embed"}},
    {"task", kTasks, {"auto", "generate", "embed"}, VllmFlag::Kind::value, true},
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
    {"hf-overrides",
     "a checkpoint's config.json is taken as it is; settings of a quantization method go into --quantization-config",
     {"{}", "null"}},
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
    {"log-config-file", "the server's logs are set by --log-level and --access-log-format"},
    {"tool-server", "tools are called by clients alone"},
    {"otlp-traces-endpoint", "there are no traces"},
});

void add_words(std::string_view words, VllmFlag::Kind kind, bool is_old, std::vector<VllmFlag>& flags) {
  while (!words.empty()) {
    const std::string_view name = words.substr(0, words.find(' '));
    words.remove_prefix(std::min(name.size() + 1, words.size()));
    flags.push_back({.name = name, .kind = kind, .is_old = is_old});
  }
}

std::vector<VllmFlag> all_flags() {
  std::vector<VllmFlag> flags(kMissing.begin(), kMissing.end());
  add_words(kIgnoredValues, VllmFlag::Kind::value, false, flags);
  add_words(kOldValues, VllmFlag::Kind::value, true, flags);
  add_words(kIgnoredLists, VllmFlag::Kind::list, false, flags);
  add_words(kIgnoredSwitches, VllmFlag::Kind::toggle, false, flags);
  return flags;
}

}  // namespace

std::span<const VllmFlag> vllm_flags() {
  static const std::vector<VllmFlag> flags = all_flags();
  return flags;
}

const VllmFlag* find_vllm_flag(std::string_view name) {
  const std::span<const VllmFlag> flags = vllm_flags();
  const auto found = std::ranges::find(flags, name, &VllmFlag::name);
  return found == flags.end() ? nullptr : &*found;
}

}  // namespace packhorse::app
