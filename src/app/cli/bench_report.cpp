#include "app/cli/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace packhorse::cli {
namespace {

using json = nlohmann::ordered_json;

constexpr const char* kBackend = "CPU";
constexpr double kMiB = 1024.0 * 1024.0, kGB = 1e9;

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != line.npos) return line.substr(colon + 2);
  }
  return "";
}

/// The short names of llama-bench.
std::string kv_name(const std::string& dtype) {
  return dtype == "float16" ? "f16" : dtype == "bfloat16" ? "bf16" : dtype == "float32" ? "f32" : dtype;
}

std::string params_text(int64_t n) {
  const auto count = static_cast<double>(n);
  return count < 1e9 ? fmt::format("{:.2f} M", count / 1e6) : fmt::format("{:.2f} B", count / 1e9);
}

std::string size_text(int64_t n_bytes) {
  const double mib = static_cast<double>(n_bytes) / kMiB;
  return mib < 1024 ? fmt::format("{:.2f} MiB", mib) : fmt::format("{:.2f} GiB", mib / 1024);
}

std::string file_name(const BenchModel& model) {
  std::filesystem::path path(model.file);
  if (!path.has_filename()) path = path.parent_path();  // a folder with a slash at its end
  return printable(path.filename().string());
}

int64_t rounded(double value) { return static_cast<int64_t>(std::llround(value)); }

json fields_of(const BenchResult& result) {
  const BenchModel& model = result.model;
  const std::vector<double> ns(result.samples_ns.begin(), result.samples_ns.end()), speeds = result.speeds();
  const Statistics time = statistics(ns), speed = statistics(speeds);
  const auto if_generating = [&](double value) { return result.read_bytes_per_token() > 0 ? json(value) : json(); };
  return {{"build_commit", version()},
          {"build_number", 0},
          {"cpu_info", processor_name()},
          {"gpu_info", ""},
          {"backends", kBackend},
          {"model_filename", model.file},
          {"model_type", fmt::format("{} {}", model.architecture, params_text(model.n_params))},
          {"model_size", model.weight_bytes},
          {"model_n_params", model.n_params},
          {"n_batch", result.n_batch},
          {"n_ubatch", result.n_batch},
          {"n_threads", model.threads},
          {"type_k", kv_name(model.kv_dtype)},
          {"type_v", kv_name(model.kv_dtype)},
          {"n_gpu_layers", 0},
          {"n_prompt", result.test.n_prompt},
          {"n_gen", result.test.n_gen},
          {"n_depth", result.test.n_depth},
          {"test_time", result.test_time},
          {"avg_ns", rounded(time.average)},
          {"stddev_ns", rounded(time.deviation)},
          {"avg_ts", speed.average},
          {"stddev_ts", speed.deviation},
          {"samples_ns", result.samples_ns},
          {"samples_ts", speeds},
          {"n_sequences", result.test.n_sequences},
          {"isa", model.isa},
          {"dtype", model.dtype},
          {"quantization", model.quantization},
          {"read_bytes_per_token", if_generating(result.read_bytes_per_token())},
          {"read_bandwidth", if_generating(result.read_bandwidth)},
          {"read_share", if_generating(result.read_share())}};
}

/// Lists have no place in a table of values.
bool in_csv(const json& value) { return !value.is_array(); }

std::string csv_line(const std::vector<std::string>& values) { return fmt::format("{}\n", fmt::join(values, ",")); }

std::string csv_value(const json& value) {
  std::string text = value.is_string() ? value.get<std::string>() : value.is_null() ? "" : value.dump();
  for (size_t at = 0; (at = text.find('"', at)) != text.npos; at += 2) text.insert(at, 1, '"');
  return fmt::format("\"{}\"", text);
}

std::string csv_row(const json& fields, bool with_names) {
  std::vector<std::string> names, values;
  for (const auto& [name, value] : fields.items()) {
    if (!in_csv(value)) continue;
    names.push_back(name);
    values.push_back(csv_value(value));
  }
  return (with_names ? csv_line(names) : "") + csv_line(values);
}

std::string dump(const json& fields, int indent) {
  return fields.dump(indent, ' ', false, json::error_handler_t::replace);
}

/// The object as an element of an array, which the first one opens.
std::string json_element(const json& fields, bool first) {
  std::string text = "\n" + dump(fields, 2);
  for (size_t at = 0; (at = text.find('\n', at)) != text.npos; at += 3) text.insert(at + 1, 2, ' ');
  return (first ? "[" : ",") + text;
}

std::string roofline(const BenchResult& result) {
  const std::vector<double> speeds = result.speeds();
  const double per_token = result.read_bytes_per_token(), speed = statistics(speeds).average;
  const double weights =
      static_cast<double>(result.model.weight_bytes_per_step) / static_cast<double>(result.test.n_sequences);
  const std::string sequences =
      result.test.n_sequences > 1 ? fmt::format(" of {} sequences", result.test.n_sequences) : "";
  return fmt::format(
      "roofline: {} {}{}: {:.1f} MB of weights + {:.2f} MB of KV cache per token at {:.1f} t/s read {:.1f} GB/s, "
      "{:.0f}% "
      "of the {:.1f} GB/s that {} threads read\n",
      file_name(result.model), result.test.name(), sequences, weights / 1e6, (per_token - weights) / 1e6, speed,
      per_token * speed / kGB, result.read_share() * 100, result.read_bandwidth / kGB, result.model.threads);
}

}  // namespace

Statistics statistics(const std::vector<double>& samples) {
  Statistics out;
  if (samples.empty()) return out;
  const auto n = static_cast<double>(samples.size());
  for (const double x : samples) out.average += x / n;
  if (samples.size() < 2) return out;
  double squares = 0;
  for (const double x : samples) squares += (x - out.average) * (x - out.average);
  out.deviation = std::sqrt(squares / (n - 1));
  return out;
}

std::vector<double> BenchResult::speeds() const {
  std::vector<double> out;
  for (const int64_t ns : samples_ns)
    out.push_back(static_cast<double>(test.n_tokens()) * 1e9 / static_cast<double>(ns));
  return out;
}

double BenchResult::read_bytes_per_token() const {
  if (test.n_prompt > 0) return 0;
  const double weights = static_cast<double>(model.weight_bytes_per_step) / static_cast<double>(test.n_sequences);
  const double mean_context = static_cast<double>(test.n_depth) + static_cast<double>(test.n_gen + 1) / 2;
  return weights + mean_context * static_cast<double>(model.kv_bytes_per_token);
}

double BenchResult::read_share() const {
  return read_bandwidth > 0 ? read_bytes_per_token() * statistics(speeds()).average / read_bandwidth : 0;
}

BenchReport::BenchReport(const BenchSettings& settings)
    : format_(settings.format),
      with_batch_(settings.n_batch != std::vector<int64_t>{EngineOptions().max_num_batched_tokens}),
      with_sequences_(settings.n_sequences != std::vector<int64_t>{1}) {
  columns_ = {{"model", -30}, {"size", 10}, {"params", 10}, {"backend", -10}, {"threads", 7}};
  if (with_batch_) columns_.push_back({"n_batch", 7});
  if (with_sequences_) columns_.push_back({"sequences", 9});
  columns_.push_back({"test", 15});
  columns_.push_back({"t/s", 20});
}

std::string BenchReport::table_line(const std::vector<std::string>& cells) const {
  std::string line = "|";
  for (size_t i = 0; i < columns_.size(); ++i) {
    const int width = columns_[i].width;
    line += width < 0 ? fmt::format(" {:<{}} |", cells[i], -width) : fmt::format(" {:>{}} |", cells[i], width);
  }
  return line + "\n";
}

std::vector<std::string> BenchReport::table_cells(const BenchResult& result) const {
  const std::vector<double> speeds = result.speeds();
  const Statistics speed = statistics(speeds);
  const BenchModel& model = result.model;
  std::vector<std::string> cells = {fmt::format("{} {}", model.architecture, file_name(model)),
                                    size_text(model.weight_bytes), params_text(model.n_params), kBackend,
                                    std::to_string(model.threads)};
  if (with_batch_) cells.push_back(std::to_string(result.n_batch));
  if (with_sequences_) cells.push_back(std::to_string(result.test.n_sequences));
  cells.push_back(result.test.name());
  cells.push_back(fmt::format("{:.2f} ± {:.2f}", speed.average, speed.deviation));
  return cells;
}

std::string BenchReport::table_head() const {
  std::vector<std::string> names, rules;
  for (const Column& column : columns_) {
    names.push_back(column.name);
    const std::string dashes(static_cast<size_t>(std::abs(column.width)), '-');
    rules.push_back(column.width < 0 ? dashes : dashes.substr(1) + ":");
  }
  return table_line(names) + table_line(rules);
}

std::string BenchReport::add(const BenchResult& result) {
  const bool first = n_rows_++ == 0;
  switch (format_) {
    case BenchFormat::json:
      return json_element(fields_of(result), first);
    case BenchFormat::jsonl:
      return dump(fields_of(result), -1) + "\n";
    case BenchFormat::csv:
      return csv_row(fields_of(result), first);
    case BenchFormat::markdown:
      break;
  }
  if (result.read_bytes_per_token() > 0) rooflines_.push_back(roofline(result));
  return (first ? table_head() : "") + table_line(table_cells(result));
}

std::string BenchReport::finish() const {
  if (format_ == BenchFormat::json) return "\n]\n";
  if (format_ != BenchFormat::markdown) return "";
  return fmt::format("\n{}build: {}\n", fmt::join(rooflines_, ""), version());
}

}  // namespace packhorse::cli
