#include "load/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>
#include <vector>

namespace packhorse::load {
namespace {

using Json = nlohmann::ordered_json;

/// Between the two values that stand around it; `sorted` is not empty.
double percentile(const std::vector<double>& sorted, double percent) {
  const double place = percent / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - std::floor(place));
}

/// mean_NAME_ms and so on, of seconds; nothing when there are none.
void add_times(Json& report, std::string_view name, std::vector<double> seconds) {
  if (seconds.empty()) return;
  std::sort(seconds.begin(), seconds.end());
  double sum = 0;
  for (const double value : seconds) sum += value;
  const auto add = [&](std::string_view which, double value) {
    report[fmt::format("{}_{}_ms", which, name)] = 1000 * value;
  };
  add("mean", sum / static_cast<double>(seconds.size()));
  add("median", percentile(seconds, 50));
  add("p90", percentile(seconds, 90));
  add("p99", percentile(seconds, 99));
  add("max", seconds.back());
}

template <class Range, class Value>
std::vector<double> each(const Range& range, Value value) {
  std::vector<double> values;
  std::transform(range.begin(), range.end(), std::back_inserter(values), value);
  return values;
}

void add_counts(Json& report, const Results& results) {
  int64_t input = 0, output = 0;
  for (const Answer& answer : results.answers) {
    input += answer.prompt_tokens;
    output += answer.output_tokens;
  }
  const double duration = results.duration;
  const int64_t n_errors = results.num_errors();
  report["duration"] = duration;
  report["completed"] = results.answers.size();
  report["failed"] = n_errors;
  report["errors"] = results.errors;
  report["refused"] = results.n_refused;
  report["keep_alive_comments"] = results.n_comments;
  report["total_input_tokens"] = input;
  report["total_output_tokens"] = output;
  report["request_throughput"] = static_cast<double>(results.answers.size()) / duration;
  report["output_throughput"] = static_cast<double>(output) / duration;
  report["total_token_throughput"] = static_cast<double>(input + output) / duration;
  report["peak_connections"] = results.peak_connected;
  report["peak_waiting_requests"] = results.peak_waiting;
  report["peak_streaming_requests"] = results.peak_streaming;
}

/// Gaps while the probe's prompt was computed are told apart from all others.
void add_probe(Json& report, const Results& results) {
  if (results.probe_sent < 0) return;
  const double begin = results.probe_sent, end = results.probe ? results.probe->first_text : results.duration;
  std::vector<double> during, besides;
  for (const Gap& gap : results.gaps) {
    (gap.end > begin && gap.begin < end ? during : besides).push_back(gap.length());
  }
  add_times(report, "itl_during_probe", std::move(during));
  add_times(report, "itl_besides_probe", std::move(besides));
  if (!results.probe) return;
  report["probe_prompt_tokens"] = results.probe->prompt_tokens;
  report["probe_ttft_ms"] = 1000 * results.probe->ttft();
}

void add_processes(Json& report, const Options& options, const RunOutcome& outcome) {
  const double duration = outcome.results.duration;
  report["client_cpu_share"] = outcome.client_cpu / duration;
  if (options.server_pid == 0) return;
  double total = 0;
  for (const auto& [name, seconds] : outcome.server_cpu) total += seconds;
  int64_t peak = 0;
  for (const Sample& sample : outcome.results.timeline) peak = std::max(peak, sample.server_rss);
  report["server_cpu_share"] = total / duration;
  report["server_cpu_seconds"] = outcome.server_cpu;
  report["server_peak_rss"] = peak;
}

Json timeline_json(const std::vector<Sample>& timeline) {
  Json rows = Json::array();
  for (const Sample& sample : timeline) {
    rows.push_back({{"time", sample.time},
                    {"connected", sample.n_connected},
                    {"waiting", sample.n_waiting},
                    {"streaming", sample.n_streaming},
                    {"texts", sample.n_texts},
                    {"server_rss", sample.server_rss}});
  }
  return rows;
}

struct Line {
  std::string_view label, key;
  double scale = 1;
};
constexpr Line kCountLines[] = {{"Successful requests", "completed"},
                                {"Failed requests", "failed"},
                                {"Refused and asked again", "refused"},
                                {"Benchmark duration (s)", "duration"},
                                {"Total input tokens", "total_input_tokens"},
                                {"Total generated tokens", "total_output_tokens"},
                                {"Request throughput (req/s)", "request_throughput"},
                                {"Output token throughput (tok/s)", "output_throughput"},
                                {"Total token throughput (tok/s)", "total_token_throughput"},
                                {"Peak connections", "peak_connections"},
                                {"Peak waiting requests", "peak_waiting_requests"},
                                {"Peak streaming requests", "peak_streaming_requests"},
                                {"Keep-alive comments", "keep_alive_comments"},
                                {"Client CPU (% of one core)", "client_cpu_share", 100},
                                {"Server CPU (% of one core)", "server_cpu_share", 100},
                                {"Server peak memory (MB)", "server_peak_rss", 1e-6},
                                {"Probe: input tokens", "probe_prompt_tokens"},
                                {"Probe: TTFT (ms)", "probe_ttft_ms"}};
constexpr std::pair<std::string_view, std::string_view> kTimes[] = {{"TTFT", "ttft"},
                                                                    {"TPOT", "tpot"},
                                                                    {"ITL", "itl"},
                                                                    {"E2EL", "e2el"},
                                                                    {"ITL during probe", "itl_during_probe"},
                                                                    {"ITL besides probe", "itl_besides_probe"}};
constexpr std::pair<std::string_view, std::string_view> kStatistics[] = {
    {"Mean", "mean"}, {"Median", "median"}, {"P90", "p90"}, {"P99", "p99"}, {"Max", "max"}};

}  // namespace

Json report_json(const Options& options, const RunOutcome& outcome) {
  const Results& results = outcome.results;
  Json report = {
      {"clients", options.n_clients}, {"prompt_tokens", options.prompt_tokens}, {"max_tokens", options.max_tokens}};
  add_counts(report, results);
  add_times(report, "ttft", each(results.answers, [](const Answer& answer) { return answer.ttft(); }));
  add_times(report, "tpot", each(results.answers, [](const Answer& answer) { return answer.tpot(); }));
  add_times(report, "itl", each(results.gaps, [](const Gap& gap) { return gap.length(); }));
  add_times(report, "e2el", each(results.answers, [](const Answer& answer) { return answer.last_text - answer.sent; }));
  add_probe(report, results);
  add_processes(report, options, outcome);
  report["timeline"] = timeline_json(results.timeline);
  return report;
}

std::string report_text(const Json& report) {
  std::string text;
  const auto add = [&](const std::string& label, const std::string& key, double scale) {
    const auto found = report.find(key);
    if (found == report.end()) return;
    text += found->is_number_integer() && scale == 1
                ? fmt::format("{:<40}{:>12}\n", label + ":", found->get<int64_t>())
                : fmt::format("{:<40}{:>12.2f}\n", label + ":", found->get<double>() * scale);
  };
  for (const Line& line : kCountLines) add(std::string(line.label), std::string(line.key), line.scale);
  for (const auto& [label, key] : kTimes) {
    for (const auto& [statistic, prefix] : kStatistics) {
      add(fmt::format("{} {} (ms)", statistic, label), fmt::format("{}_{}_ms", prefix, key), 1);
    }
  }
  for (const auto& [kind, count] : report["errors"].items()) {
    text += fmt::format("error: {}: {}\n", kind, count.get<int64_t>());
  }
  return text;
}

}  // namespace packhorse::load
