#include "app/server/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "app/server/metrics_text.h"

namespace packhorse::server {
namespace {

// Bounds as vLLM's, so that its dashboards fit.
const std::vector<double> kFirstToken = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,  0.25,  0.5,   0.75,
                                         1.0,   2.5,   5.0,  7.5,  10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0};
const std::vector<double> kPerToken = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,  0.3,  0.4, 0.5,
                                       0.75, 1.0,   2.5,  5.0,   7.5, 10.0, 20.0, 40.0, 80.0};
const std::vector<double> kLatency = {0.3,  0.5,  0.8,  1.0,  1.5,   2.0,   2.5,   5.0,   10.0,   15.0,  20.0,
                                      30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};
const std::vector<double> kStepTokens = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
const std::vector<double> kHttp = {0.1, 0.5, 1.0};
constexpr int64_t kMostTokens = 200'000;
constexpr size_t kMaxHttpLabels = 256;  // sets of labels: a guard, routes make fewer
// The last one is vLLM's for answers that repeat themselves, which no answer ends by here.
constexpr std::array<const char*, 5> kReasons = {"stop", "length", "abort", "error", "repetition"};

/// What is known of a request that is being answered.
struct Progress {
  double last_token = 0;
  int64_t n_prompt = 0, n_generated = 0;
  std::vector<int64_t> n_answer;  // tokens of each answer
};

}  // namespace

struct Metrics::Impl {
  std::string labels;
  mutable std::mutex mutex;  // of all below

  std::unordered_map<uint64_t, Progress> requests;
  std::array<int64_t, kReasons.size()> n_finished{};
  int64_t n_rejected = 0, n_steps = 0, n_computed = 0;

  Histogram first_token{kFirstToken}, inter_token{kPerToken}, per_token{kPerToken};
  Histogram latency{kLatency}, queue_time{kLatency}, inference_time{kLatency}, prefill_time{kLatency},
      decode_time{kLatency};
  Histogram prompt_tokens{bounds_125(kMostTokens)}, generation_tokens{bounds_125(kMostTokens)},
      most_tokens{bounds_125(kMostTokens)}, asked_tokens{bounds_125(kMostTokens)};
  Histogram asked_n{{1, 2, 5, 10, 20}}, step_tokens{kStepTokens}, preemptions{{0, 1, 2, 5, 10, 20, 50}};

  using Http = std::tuple<std::string, std::string, std::string>;  // handler, method, status
  std::map<Http, int64_t> n_http;
  std::map<std::pair<std::string, std::string>, Histogram> http_seconds;

  void count_answers(const RequestOutput& output) {
    for (const CompletionOutput& answer : output.outputs) {
      const auto it = std::find(kReasons.begin(), kReasons.end(), answer.finish_reason);
      if (it != kReasons.end()) ++n_finished[static_cast<size_t>(it - kReasons.begin())];
    }
    if (output.embedding) ++n_finished[0];
  }

  void observe_times(const RequestMetrics& at, int64_t n_generated) {
    if (at.first_scheduled <= 0) return;  // it never ran
    const double end = std::max(at.last_token, at.first_scheduled);
    queue_time.observe(at.first_scheduled - at.arrival);
    inference_time.observe(end - at.first_scheduled);
    latency.observe(end - at.arrival);
    preemptions.observe(static_cast<double>(at.n_preemptions));
    if (at.first_token <= 0) return;
    prefill_time.observe(at.first_token - at.first_scheduled);
    decode_time.observe(end - at.first_token);
    if (n_generated > 1) per_token.observe((end - at.first_token) / static_cast<double>(n_generated - 1));
  }

  void add_engine(MetricsPage& page, const EngineStats& now) const;
  void add_settings(MetricsPage& page, const EngineStats& now, const EngineOptions& options) const;
  void add_requests(MetricsPage& page) const;
  void add_http(MetricsPage& page) const;
};

void Metrics::Impl::add_engine(MetricsPage& page, const EngineStats& now) const {
  const auto number = [](int64_t value) { return static_cast<double>(value); };
  const auto gauge = [&](const char* name, const char* help, double value) {
    page.single(name, "gauge", help, labels, value);
  };
  const auto counter = [&](const char* name, const char* help, int64_t value) {
    page.single(name, "counter", help, labels, number(value));
  };
  const double used = now.n_blocks > 0 ? number(now.n_blocks - now.n_free_blocks) / number(now.n_blocks) : 0;
  gauge("vllm:num_requests_running", "Requests that are being computed.", number(now.n_running));
  gauge("vllm:num_requests_waiting", "Requests that wait.", number(now.n_waiting));
  gauge("vllm:kv_cache_usage_perc", "Share of the KV cache in use, 1 is all.", used);
  page.family("vllm:engine_sleep_state", "gauge", "Whether the engine is awake: it always is.");
  for (const auto& [state, value] : {std::pair{"awake", 1.0}, {"weights_offloaded", 0.0}, {"discard_all", 0.0}})
    page.sample("vllm:engine_sleep_state", fmt::format("{},{}", labels, label_text({{"sleep_state", state}})), value);
  counter("vllm:prefix_cache_queries_total", "Prompt tokens that were looked up in the prefix cache.",
          now.n_prompt_tokens);
  counter("vllm:prefix_cache_hits_total", "Prompt tokens that were found there.", now.n_cached_tokens);
  counter("vllm:num_preemptions_total", "Requests that gave up their place and were computed again.",
          now.n_preemptions);
  counter("vllm:prompt_tokens_total", "Tokens of prompts.", now.n_prompt_tokens);
  counter("vllm:prompt_tokens_cached_total", "Tokens of prompts that came from the prefix cache.", now.n_cached_tokens);
  counter("vllm:generation_tokens_total", "Tokens of answers.", now.n_generated_tokens);
  counter("vllm:admission_rejections_total", "Prompts that were refused because too many waited.", n_rejected);
  page.family("vllm:request_success_total", "counter", "Answers that ended, by reason.");
  for (size_t i = 0; i < kReasons.size(); ++i)
    page.sample("vllm:request_success_total",
                fmt::format("{},{}", labels, label_text({{"finished_reason", kReasons[i]}})), number(n_finished[i]));
}

/// Series whose labels are all that they say.
void Metrics::Impl::add_settings(MetricsPage& page, const EngineStats& now, const EngineOptions& options) const {
  const std::string cache = label_text({{"block_size", "16"},
                                        {"enable_prefix_caching", options.enable_prefix_caching ? "True" : "False"},
                                        {"num_gpu_blocks", fmt::to_string(now.n_blocks)}});
  page.single("vllm:cache_config_info", "gauge", "Layout of the KV cache.", fmt::format("{},{}", labels, cache), 1);
  const std::string none =
      label_text({{"max_lora", "0"}, {"running_lora_adapters", ""}, {"waiting_lora_adapters", ""}});
  page.single("vllm:lora_requests_info", "gauge", "Adapters in use: there are none.",
              fmt::format("{},{}", labels, none), 0);
}

void Metrics::Impl::add_requests(MetricsPage& page) const {
  const auto add = [&](const char* name, const char* help, const Histogram& histogram) {
    page.family(name, "histogram", help);
    page.histogram(name, labels, histogram);
  };
  add("vllm:time_to_first_token_seconds", "From arrival to the first token.", first_token);
  add("vllm:inter_token_latency_seconds", "Between the outputs of a streamed answer.", inter_token);
  add("vllm:request_time_per_output_token_seconds", "Mean time of a token after the first one.", per_token);
  add("vllm:e2e_request_latency_seconds", "From arrival to the last token.", latency);
  add("vllm:request_queue_time_seconds", "From arrival to the first step.", queue_time);
  add("vllm:request_inference_time_seconds", "From the first step to the last token.", inference_time);
  add("vllm:request_prefill_time_seconds", "From the first step to the first token.", prefill_time);
  add("vllm:request_decode_time_seconds", "From the first token to the last one.", decode_time);
  add("vllm:request_prompt_tokens", "Tokens of a prompt.", prompt_tokens);
  add("vllm:request_generation_tokens", "Tokens of a request's answers.", generation_tokens);
  add("vllm:request_max_num_generation_tokens", "Tokens of the longest answer of a request.", most_tokens);
  add("vllm:request_params_n", "Answers asked for.", asked_n);
  add("vllm:request_params_max_tokens", "Tokens asked for.", asked_tokens);
  add("vllm:request_num_preemptions", "Times that a request gave up its place.", preemptions);
  add("vllm:iteration_tokens_total", "Tokens of an engine step.", step_tokens);
}

void Metrics::Impl::add_http(MetricsPage& page) const {
  page.family("http_requests_total", "counter", "Answers by handler, method and class of status.");
  for (const auto& [key, n] : n_http) {
    const auto& [handler, method, status] = key;
    page.sample("http_requests_total", label_text({{"handler", handler}, {"method", method}, {"status", status}}),
                static_cast<double>(n));
  }
  page.family("http_request_duration_seconds", "histogram", "From the request to the end of its answer.");
  for (const auto& [key, seconds] : http_seconds)
    page.histogram("http_request_duration_seconds", label_text({{"handler", key.first}, {"method", key.second}}),
                   seconds);
}

Metrics::Metrics(std::string model_name) : impl_(std::make_unique<Impl>()) {
  impl_->labels = label_text({{"engine", "0"}, {"model_name", std::move(model_name)}});
}
Metrics::~Metrics() = default;

void Metrics::on_step(const EngineStats& stats) {
  const std::lock_guard lock(impl_->mutex);
  if (stats.n_steps > impl_->n_steps)
    impl_->step_tokens.observe(static_cast<double>(stats.n_computed_tokens - impl_->n_computed));
  impl_->n_steps = stats.n_steps;
  impl_->n_computed = stats.n_computed_tokens;
}

void Metrics::on_rejection() {
  const std::lock_guard lock(impl_->mutex);
  ++impl_->n_rejected;
}

void Metrics::on_output(const RequestOutput& output) {
  const std::lock_guard lock(impl_->mutex);
  const auto [it, is_first] = impl_->requests.try_emplace(output.request_id);
  Progress& progress = it->second;
  int64_t n_new = 0;
  for (const CompletionOutput& answer : output.outputs) {
    const auto index = static_cast<size_t>(answer.index);
    if (progress.n_answer.size() <= index) progress.n_answer.resize(index + 1);
    progress.n_answer[index] += static_cast<int64_t>(answer.token_ids.size());
    n_new += static_cast<int64_t>(answer.token_ids.size());
  }
  const RequestMetrics& at = output.metrics;
  if (is_first) progress.n_prompt = static_cast<int64_t>(output.prompt_token_ids.size());
  if (n_new > 0 && progress.n_generated == 0 && at.first_token > 0)
    impl_->first_token.observe(at.first_token - at.arrival);
  else if (n_new > 0 && at.last_token > progress.last_token)
    impl_->inter_token.observe(at.last_token - progress.last_token);
  progress.n_generated += n_new;
  progress.last_token = at.last_token;
  impl_->count_answers(output);
}

void Metrics::on_finished(const RequestOutput& output, int64_t n, int64_t max_tokens) {
  const std::lock_guard lock(impl_->mutex);
  Progress progress;
  if (const auto it = impl_->requests.find(output.request_id); it != impl_->requests.end()) {
    progress = it->second;
    impl_->requests.erase(it);
  }
  impl_->prompt_tokens.observe(static_cast<double>(progress.n_prompt));
  impl_->generation_tokens.observe(static_cast<double>(progress.n_generated));
  const auto most = std::ranges::max_element(progress.n_answer);
  impl_->most_tokens.observe(most == progress.n_answer.end() ? 0 : static_cast<double>(*most));
  impl_->asked_n.observe(static_cast<double>(n));
  if (max_tokens > 0) impl_->asked_tokens.observe(static_cast<double>(max_tokens));
  impl_->observe_times(output.metrics, progress.n_generated / std::max<int64_t>(n, 1));
}

void Metrics::on_http(std::string_view handler, std::string_view method, int status, double seconds) {
  const std::lock_guard lock(impl_->mutex);
  const Impl::Http key{handler, method, fmt::format("{}xx", status / 100)};
  if (impl_->n_http.size() >= kMaxHttpLabels && !impl_->n_http.contains(key)) return;
  ++impl_->n_http[key];
  impl_->http_seconds.try_emplace({std::string(handler), std::string(method)}, kHttp).first->second.observe(seconds);
}

std::string Metrics::text(const EngineStats& now, const EngineOptions& options) const {
  MetricsPage page;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->add_engine(page, now);
    impl_->add_settings(page, now, options);
    impl_->add_requests(page);
    impl_->add_http(page);
  }
  add_process_metrics(page);
  return std::move(page).text();
}

}  // namespace packhorse::server
