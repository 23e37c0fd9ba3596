#pragma once
// Counters of the server in Prometheus' text format, under vLLM's names.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "packhorse/packhorse.h"

namespace packhorse::server {

/// Thread-safe.
class Metrics {
 public:
  /// `model_name` is the label of all series.
  explicit Metrics(std::string model_name);
  ~Metrics();

  /// After each step of the engine; counts what changed since the last call.
  void on_step(const EngineStats& stats);
  /// A prompt was refused for lack of room ("vllm:admission_rejections").
  void on_rejection();
  /// News of one request, in order; intervals between calls are the inter-token latencies.
  void on_output(const RequestOutput& output);
  /// After its last output. `max_tokens` as asked for, 0 = none.
  void on_finished(const RequestOutput& output, int64_t n, int64_t max_tokens);
  /// An HTTP answer ("http_requests_total{handler,method,status}", "http_request_duration_seconds").
  void on_http(std::string_view handler, std::string_view method, int status, double seconds);

  /// The whole page: text/plain; version=0.0.4. `options` are the engine's.
  std::string text(const EngineStats& now, const EngineOptions& options) const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace packhorse::server
