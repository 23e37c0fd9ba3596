// Where the settings of `packhorse serve` come from, and that no flag of `vllm serve` is unknown.
#include "app/cli/serve_sources.h"

#include <gmock/gmock.h>

#include "app/cli/dotted_arguments.h"
#include "app/cli/flags.h"
#include "app/cli/vllm_flags.h"
#include "app/tiny_llama.h"
#include "app/vllm_flags.h"

namespace packhorse::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Those of vLLM 0.33, and older ones that scripts still use.
constexpr std::string_view kOfVllm =
    "additional-config aggregate-engine-logging all2all-backend allow-credentials allow-deprecated-quantization "
    "allowed-headers allowed-local-media-path allowed-media-domains allowed-methods allowed-origins api-key "
    "api-server-count async-scheduling attention-backend attention-config block-size calculate-kv-scales chat-template "
    "chat-template-content-format code-revision cohere-format cohere-is-reasoning-model collect-detailed-traces "
    "compilation-config config config-format convert cp-kv-cache-interleave-size cpu-distributed-timeout-seconds "
    "cpu-offload-gb cpu-offload-params cuda-graph-sizes cudagraph-capture-sizes cudagraph-metrics "
    "data-parallel-address data-parallel-backend data-parallel-external-lb data-parallel-hybrid-lb "
    "data-parallel-multi-port-external-lb data-parallel-rank data-parallel-rpc-port data-parallel-size "
    "data-parallel-size-local data-parallel-start-rank data-parallel-supervisor-port dbo-decode-token-threshold "
    "dbo-prefill-token-threshold dcp-comm-backend dcp-kv-cache-interleave-size dcp-q-replicate "
    "decode-context-parallel-size default-chat-template-kwargs default-mm-loras device device-ids diffusion-config "
    "disable-access-log-for-endpoints disable-async-output-proc disable-cascade-attn disable-chunked-mm-input "
    "disable-custom-all-reduce disable-fastapi-docs disable-frontend-multiprocessing disable-hybrid-kv-cache-manager "
    "disable-log-requests disable-log-stats disable-mm-preprocessor-cache disable-nccl-for-dp-synchronization "
    "disable-sliding-window disable-uvicorn-access-log distributed-executor-backend distributed-timeout-seconds "
    "download-dir dp-supervisor-probe-failure-threshold dp-supervisor-probe-interval-s dp-supervisor-probe-timeout-s "
    "dp-sync-interval dtype ec-manager-config ec-transfer-config enable-auto-tool-choice enable-batch-sharded-sampling "
    "enable-bf16x3-router-gemm enable-chunked-prefill enable-cumem-allocator enable-dbo enable-elastic-ep "
    "enable-ep-weight-filter enable-eplb enable-expert-parallel enable-fault-tolerance enable-flash-late-interaction "
    "enable-flashinfer-autotune enable-force-include-usage enable-layerwise-nvtx-tracing enable-log-deltas "
    "enable-log-outputs enable-log-requests enable-logging-iteration-details enable-lora enable-lora-bias "
    "enable-mamba-cache-stochastic-rounding enable-mfu-metrics enable-mixed-moe-lora-format enable-mm-embeds "
    "enable-mm-processor-stats enable-moe-shared-loras enable-multimodal-encoder-data-parallel "
    "enable-nccl-comm-suspend enable-offline-docs enable-per-request-metrics enable-prefix-caching "
    "enable-prompt-adapter enable-prompt-embeds enable-prompt-tokens-details enable-reasoning "
    "enable-request-id-headers enable-return-routed-experts enable-server-load-tracking enable-sleep-mode "
    "enable-ssl-refresh enable-tokenizer-info-endpoint enable-tower-connector-lora enable-trace-replay enforce-eager "
    "eplb-config exclude-tools-when-tool-choice-none expert-placement-strategy fail-on-environ-validation "
    "fault-tolerance-config fingerprint-mode fingerprint-value full-cuda-graph fully-sharded-loras "
    "gdn-prefill-backend generation-config gpu-memory-utilization grpc guided-decoding-backend "
    "guided-decoding-disable-additional-properties guided-decoding-disable-any-whitespace "
    "guided-decoding-disable-fallback h11-max-header-count h11-max-incomplete-event-size headless hf-config-path "
    "hf-overrides hf-token host ignore-patterns interleave-mm-strings io-processor-plugin ir-op-priority "
    "jit-monitor-mode jit-monitor-verbose kda-prefill-backend kernel-config kv-cache-dtype kv-cache-dtype-skip-layers "
    "kv-cache-memory-bytes kv-cache-metrics kv-cache-metrics-sample kv-events-config kv-offloading-backend "
    "kv-offloading-size kv-sharing-fast-prefill kv-transfer-config language-model-only limit-mm-per-prompt "
    "linear-backend load-format log-config-file log-error-stack logits-processor-pattern logits-processors "
    "logprobs-mode long-prefill-token-threshold lora-dtype lora-extra-vocab-size lora-modules lora-target-modules "
    "mamba-backend mamba-block-size mamba-cache-dtype mamba-cache-mode mamba-cache-philox-rounds mamba-config "
    "mamba-ssm-cache-dtype mamba-ssu-algorithm master-addr master-port max-context-len-to-capture max-cpu-loras "
    "max-cudagraph-capture-size max-log-len max-logprobs max-long-partial-prefills max-lora-rank max-loras "
    "max-model-len max-num-batched-tokens max-num-partial-prefills max-num-queued-reqs max-num-queued-tokens "
    "max-num-scheduled-tokens max-num-seqs max-parallel-loading-workers max-seq-len-to-capture media-io-kwargs "
    "middleware mm-device-do-normalize mm-encoder-attn-backend mm-encoder-attn-dtype mm-encoder-fp8-scale-path "
    "mm-encoder-fp8-scale-save-margin mm-encoder-fp8-scale-save-path mm-encoder-only mm-encoder-tp-mode "
    "mm-hasher-algorithm mm-ipc-gpu-memory-gb mm-processor-cache-gb mm-processor-cache-type mm-processor-device "
    "mm-processor-kwargs mm-shm-cache-max-object-size-mb mm-tensor-ipc model model-class-overrides model-impl "
    "model-loader-extra-config moe-backend multi-step-stream-outputs nnodes node-rank num-gpu-blocks-override "
    "num-lookahead-slots num-scheduler-steps num-speculative-tokens numa-bind numa-bind-cpus numa-bind-nodes "
    "observability-config offload-backend offload-group-size offload-num-in-group offload-params "
    "offload-prefetch-step optimization-level otlp-traces-endpoint override-generation-config override-neuron-config "
    "override-pooler-config per-request-spec-decode-metrics performance-mode pipeline-parallel-size pooler-config port "
    "preemption-mode prefill-context-parallel-size prefill-schedule-interval prefix-cache-retention-interval "
    "prefix-caching-hash-algo prefix-match-unit profiler-config prompt-adapters pt-load-map-location "
    "qlora-adapter-name-or-path quantization quantization-config quantization-param-path ray-workers-use-nsight "
    "reasoning-config reasoning-parser reasoning-parser-plugin renderer-num-workers replayssm-buffer-len response-role "
    "return-sampling-mask return-tokens-as-token-ids revision root-path rope-scaling rope-theta runner "
    "safetensors-load-strategy safetensors-prefetch-block-size safetensors-prefetch-num-threads scheduler-cls "
    "scheduler-reserve-full-isl scheduling-policy seed served-model-name show-hidden-metrics-for-version "
    "shutdown-timeout skip-mm-profiling skip-tokenizer-init spec-method spec-model spec-tokens specialize-active-lora "
    "speculative-config speculative-model ssl-ca-certs ssl-cert-reqs ssl-certfile ssl-ciphers ssl-keyfile "
    "stream-interval structured-outputs-config swap-space task tensor-parallel-size tokenizer tokenizer-mode "
    "tokenizer-pool-extra-config tokenizer-pool-size tokenizer-pool-type tokenizer-revision tokens-only "
    "tool-call-parser tool-parser-plugin tool-server trust-remote-code trust-request-chat-template ubatch-size uds "
    "use-fp64-gumbel use-replayssm use-tqdm-on-load use-v2-block-manager uvicorn-log-level video-pruning-method "
    "video-pruning-rate watermark weight-transfer-config worker-cls worker-extension-cls worker-use-ray";

struct Parsed {
  ServeSettings settings;
  std::vector<std::string> extra;
};

/// Settings of "packhorse serve ARGUMENTS".
std::unique_ptr<Parsed> parse(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"packhorse", "serve"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  std::vector<std::string> normal = normalize_arguments(static_cast<int>(argv.size()), argv.data());
  auto parsed = std::make_unique<Parsed>();
  CLI::App app;
  app.allow_extras();
  parsed->settings.add_to(app);
  app.parse(std::vector<std::string>(normal.rbegin(), normal.rend() - 1));
  parsed->settings.finish(app);
  parsed->extra = app.remaining();
  return parsed;
}

std::string refusal(const std::vector<std::string>& arguments) {
  return testing::failure_of(ErrorKind::usage, [&] { parse(arguments); });
}

TEST(VllmFlags, none_is_unknown) {
  ServeSettings settings;
  CLI::App app;
  settings.add_to(app);  // throws when a name stands twice
  for (std::string_view rest = kOfVllm; !rest.empty();) {
    const std::string name(rest.substr(0, rest.find(' ')));
    rest.remove_prefix(std::min(name.size() + 1, rest.size()));
    EXPECT_NE(app.get_option_no_throw(fmt::format("--{}", usual_name(name))), nullptr) << name;
  }
}

TEST(VllmFlags, without_effect) {
  const auto parsed = parse({"-O3", "--swap_space", "4", "--cudagraph-capture-sizes", "1", "2", "4", "-cc.mode=3",
                             "-cc.custom_ops+", "all", "--no-async-scheduling", "-ep", "model"});
  EXPECT_EQ(parsed->settings.engine.model, "model");
  EXPECT_THAT(parsed->extra, ElementsAre());
  EXPECT_THAT(
      parsed->settings.ignored,
      ::testing::UnorderedElementsAre("--optimization-level", "--swap-space", "--cudagraph-capture-sizes",
                                      "--compilation-config", "--no-async-scheduling", "--enable-expert-parallel"));
}

TEST(VllmFlags, letters) {
  for (const auto& [given, expected] :
       std::vector<std::pair<std::string, std::string>>{{"-O3", "--optimization-level=3"},
                                                        {"-O=3", "--optimization-level=3"},
                                                        {"-O", "--optimization-level"},
                                                        {"-O.level=3", "--optimization-level.level=3"},
                                                        {"-cc", "--compilation-config"},
                                                        {"-cc.a.b=1", "--compilation-config.a.b=1"},
                                                        {"-dp=2", "--data-parallel-size=2"},
                                                        {"-dpr", "--data-parallel-start-rank"},
                                                        {"-q", "-q"},
                                                        {"-", "-"},
                                                        {"", ""},
                                                        {"O3", "O3"},
                                                        {"--data", "--data"}}) {
    EXPECT_EQ(with_long_name(given), expected);
  }
  for (const std::vector<std::string>& given :
       {std::vector<std::string>{"m", "-O", "3"}, {"m", "-O=3"}, {"m", "-O.level=3"}, {"m", "-O.level", "3"}}) {
    EXPECT_THAT(parse(given)->settings.ignored, ElementsAre("--optimization-level")) << given[1];
  }
}

TEST(VllmFlags, what_is_not_there_says_why) {
  EXPECT_EQ(refusal({"m", "--lora-modules", "a=b", "c=d"}),
            "--lora-modules: not supported: there are no adapters (LoRA and the like) (got 'a=b')");
  EXPECT_EQ(refusal({"m", "--enable-lora"}), "--enable-lora: not supported: there are no adapters (LoRA and the like)");
  EXPECT_THAT(refusal({"m", "--speculative-config.model", "x"}), HasSubstr("speculative"));
  EXPECT_THAT(refusal({"m", "-pp", "2"}), StartsWith("--pipeline-parallel-size: not supported: "));
  EXPECT_THAT(refusal({"m", "-dp", "2"}), HasSubstr("(got '2')"));
  EXPECT_THAT(refusal({"m", "--nnodes", "2"}), StartsWith("--nnodes: "));
  EXPECT_THAT(refusal({"m", "--middleware", "x.y"}), HasSubstr("(got 'x.y')"));
  EXPECT_THAT(refusal({"m", "--headless"}), StartsWith("--headless: "));
  EXPECT_NO_THROW(parse({"m", "-pp", "1", "-dp=1", "-n", "1", "--no-enable-lora", "--speculative-config", "null",
                         "--runner", "pooling"}));
}

TEST(VllmFlags, an_empty_text_asks_for_nothing) {
  EXPECT_NO_THROW(parse({"m", "--worker-extension-cls", "", "--tool-parser-plugin", "", "--lora-modules", ""}));
}

TEST(VllmFlags, of_older_releases) {
  EXPECT_TRUE(app::find_vllm_flag("swap-space")->is_old);
  EXPECT_FALSE(app::find_vllm_flag("enforce-eager")->is_old);
  EXPECT_EQ(app::find_vllm_flag("swap_space"), nullptr);
  EXPECT_EQ(app::find_vllm_flag(""), nullptr);
}

TEST(ServeSettings, the_tokenizer_comes_with_the_model) {
  EXPECT_EQ(refusal({"m", "--tokenizer-revision", "v2"}),
            "--tokenizer-revision: not supported unless equal to --revision (got 'v2', --revision is '')");
  EXPECT_THAT(refusal({"m", "--tokenizer-revision", "v2", "--revision", "v1"}), HasSubstr("--revision is 'v1'"));
  EXPECT_NO_THROW(parse({"m", "--tokenizer-revision", "v2", "--revision", "v2"}));
}

TEST(DottedArguments, lists_of_members) {
  EXPECT_THAT(fold_dotted_arguments({"--a.b+", "x", "--a.b+=y,z", "--a.c.d+", "", "--e"}),
              ElementsAre("--a", R"({"b":["x","y","z"],"c":{"d":[""]}})", "--e"));
  const auto wrong = [](std::vector<std::string> arguments) {
    return testing::failure_of(ErrorKind::usage, [&] { fold_dotted_arguments(arguments); });
  };
  EXPECT_EQ(wrong({"--a.b", "1", "--a.b+", "x"}), "--a.b+: not a list");
  EXPECT_EQ(wrong({"--a.b+", "x", "--a.b", "1"}), "--a.b: set more than once");
  EXPECT_EQ(wrong({"--a.+", "x"}), "--a.+: a member without a name");
}

class ConfigFile : public ::testing::Test {
 protected:
  std::unique_ptr<Parsed> parse_file(std::string_view text, std::vector<std::string> arguments = {}) const {
    testing::write_text(path(), text);
    arguments.insert(arguments.end(), {"--config", path()});
    return parse(arguments);
  }
  std::string problem(std::string_view text) const {
    testing::write_text(path(), text);
    const std::string whole = refusal({"m", "--config", path()});
    EXPECT_THAT(whole, HasSubstr("c.yaml"));
    return whole.substr(whole.find(": ") + 2);
  }
  std::string path() const { return dir_.file("c.yaml"); }

  testing::TempDir dir_;
};

TEST_F(ConfigFile, switches_in_all_spellings) {
  const auto parsed = parse_file(R"(
model: m
no-enable-prefix-caching: true
no_enable_auto_tool_choice: Yes
trust-request-chat-template: TRUE
no-allow-credentials: false
no-async-scheduling: true
no-enable-lora: true
enable-sleep-mode: off
)");
  const ServeSettings& settings = parsed->settings;
  EXPECT_FALSE(settings.engine.enable_prefix_caching);
  EXPECT_FALSE(settings.flags.api.enable_auto_tool_choice);
  EXPECT_TRUE(settings.flags.api.trust_request_chat_template);
  EXPECT_TRUE(settings.flags.http.cors.allow_credentials);
  EXPECT_THAT(settings.ignored, ElementsAre("no-async-scheduling"));
}

TEST_F(ConfigFile, the_command_line_wins_over_either_spelling) {
  EXPECT_TRUE(parse_file("no-enable-prefix-caching: true\n", {"m", "--enable-prefix-caching"})
                  ->settings.engine.enable_prefix_caching);
  ::setenv("PACKHORSE_ENABLE_PREFIX_CACHING", "true", 1);
  EXPECT_FALSE(parse_file("no-enable-prefix-caching: true\n", {"m"})->settings.engine.enable_prefix_caching);
  ::unsetenv("PACKHORSE_ENABLE_PREFIX_CACHING");
}

TEST_F(ConfigFile, the_command_line_wins_by_vllms_names_too) {
  const std::vector<std::string> given = {"m", "--uvicorn_log_level=info", "--disable-uvicorn-access-log"};
  const auto expect_given = [](const Parsed& parsed) {
    EXPECT_EQ(parsed.settings.flags.log_level, "info");
    EXPECT_TRUE(parsed.settings.flags.disable_access_log);
  };
  expect_given(*parse_file("log-level: error\ndisable-access-log: false\n", given));
  expect_given(*parse_file("uvicorn-log-level: error\ndisable-uvicorn-access-log: false\n", given));
  ::setenv("PACKHORSE_LOG_LEVEL", "error", 1);
  ::setenv("PACKHORSE_DISABLE_ACCESS_LOG", "false", 1);
  expect_given(*parse(given));
  ::unsetenv("PACKHORSE_LOG_LEVEL");
  ::unsetenv("PACKHORSE_DISABLE_ACCESS_LOG");
}

TEST_F(ConfigFile, lists_of_what_is_not_there_may_be_empty) {
  EXPECT_NO_THROW(parse_file("logits-processors: []\nmiddleware: []\n", {"m"}));
  EXPECT_THAT(problem("middleware: [a.b]\n"), StartsWith("middleware: not supported: "));
}

TEST_F(ConfigFile, mappings_and_lists) {
  const auto parsed = parse_file(R"(
model: m
default_chat_template_kwargs:
  enable_thinking: False
  name: 'no'
  list: [1, True, ~, a]
override-generation-config: {temperature: .5, min-p: +1., top-k: {a: b}}
served-model-name: [1.0, yes]
cudagraph-capture-sizes: [1, 2]
kv-events-config: null
max-model-len: -1
)");
  const ServeSettings& settings = parsed->settings;
  EXPECT_EQ(settings.flags.api.default_chat_template_kwargs,
            R"({"enable_thinking":false,"name":"no","list":[1,true,null,"a"]})");
  EXPECT_EQ(settings.engine.override_generation_config, R"({"temperature":0.5,"min-p":1.0,"top-k":{"a":"b"}})");
  EXPECT_THAT(settings.flags.api.served_model_names, ElementsAre("1.0", "yes"));
  EXPECT_THAT(settings.ignored, ElementsAre("cudagraph-capture-sizes"));
  EXPECT_EQ(settings.engine.max_model_len, 0);
}

TEST_F(ConfigFile, the_tokenizers_revision_too_has_to_be_the_models) {
  EXPECT_NO_THROW(parse_file("revision: v2\ntokenizer-revision: v2\n", {"m"}));
  EXPECT_NO_THROW(parse_file("tokenizer_revision: v1\n", {"m", "--tokenizer-revision", "v2", "--revision=v2"}));
  testing::write_text(path(), "revision: v1\ntokenizer-revision: v2\n");
  EXPECT_THAT(refusal({"m", "--config", path()}), StartsWith("--tokenizer-revision: not supported unless equal"));
}

TEST_F(ConfigFile, fault_122_problems_name_file_and_key) {
  EXPECT_EQ(problem("max-modl-len: 5\n"), "max-modl-len: unknown flag (did you mean 'max-model-len'?)");
  EXPECT_EQ(problem("no-port: true\n"), "no-port: unknown flag (did you mean 'port'?)");
  EXPECT_EQ(problem("no-enable-prefix-caching: 7\n"), "no-enable-prefix-caching: not true or false (got '7')");
  EXPECT_EQ(problem("log-level: info\nuvicorn_log_level: debug\n"),
            "'uvicorn-log-level' and another name of that flag");
  EXPECT_EQ(problem("enable-lora: false\nno-enable-lora: true\n"), "'no-enable-lora' and another name of that flag");
  EXPECT_EQ(problem("api-key: [a, {b: c}]\n"), "api-key: a list of more than texts");
  EXPECT_THAT(problem("lora-modules: [{name: a, path: b}]\n"), StartsWith("lora-modules: not supported: "));
  EXPECT_THAT(problem("no-enable-lora: false\n"), StartsWith("no-enable-lora: not supported: "));
  EXPECT_THAT(problem("enable-lora: maybe\n"), StartsWith("enable-lora: not true or false"));
}

TEST(ServeSettings, lengths_of_the_models_own) {
  ::setenv("PACKHORSE_MAX_MODEL_LEN", "77", 1);
  EXPECT_EQ(parse({"m"})->settings.engine.max_model_len, 77);
  EXPECT_EQ(parse({"m", "--max-model-len", "auto"})->settings.engine.max_model_len, 0);
  EXPECT_EQ(parse({"m", "--max-model-len", "-1"})->settings.engine.max_model_len, 0);
  ::unsetenv("PACKHORSE_MAX_MODEL_LEN");
  EXPECT_THAT(refusal({"m", "--max-model-len", "-2"}), HasSubstr("(got -2, allowed 1 to "));
  EXPECT_THAT(refusal({"m", "--max-num-seqs", "auto"}), HasSubstr("--max-num-seqs: not a whole number (got 'auto'"));
}

TEST(ServeSettings, members_of_the_generation_config) {
  EXPECT_EQ(parse({"m", "--override-generation-config.temperature", "0.5", "--override_generation_config.top_k=3"})
                ->settings.engine.override_generation_config,
            R"({"temperature":0.5,"top_k":3})");
}

TEST(ServeSettings, limits_of_templates_reach_the_engine) {
  const auto parsed = parse({"m", "--template-steps", "1k", "--template-output-mb", "2"});
  const EngineOptions options = server::engine_options(parsed->settings.flags, parsed->settings.engine);
  EXPECT_EQ(options.template_steps, 1000);
  EXPECT_EQ(options.template_output_mb, 2);
  EXPECT_EQ(server::engine_options({}, {}).template_steps, EngineOptions().template_steps);
  EXPECT_THAT(refusal({"m", "--template-steps", "0"}), HasSubstr("--template-steps: out of range"));
}

}  // namespace
}  // namespace packhorse::cli
