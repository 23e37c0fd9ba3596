#pragma once
// Results of `packhorse bench` as text: llama-bench's columns and field names, and ours after them.

#include <cstdint>
#include <string>
#include <vector>

#include "app/cli/bench_run.h"
#include "app/cli/bench_settings.h"

namespace packhorse::cli {

/// Average and sample standard deviation; the latter is 0 for a single value.
struct Statistics {
  double average = 0, deviation = 0;
};
Statistics statistics(const std::vector<double>& samples);

struct BenchResult {
  BenchModel model;
  BenchTest test;
  int64_t n_batch = 0;
  std::string test_time;  // "2025-01-31T12:00:00Z"
  std::vector<int64_t> samples_ns;
  double read_bandwidth = 0;  // bytes per second that as many threads can read

  /// Tokens per second of each repetition.
  std::vector<double> speeds() const;
  /// Bytes of weights and of keys and values that a generated token costs, on average; 0 unless the test only
  /// generates.
  double read_bytes_per_token() const;
  /// Part of the bandwidth that these bytes take up.
  double read_share() const;
};

/// Text of a run as its results come in: add() of each, then finish(). The table ends with one line for each generation
/// test on how near it came to the limit of memory.
class BenchReport {
 public:
  /// The table has columns for batch size and sequences only where `settings` names other values than the defaults.
  explicit BenchReport(const BenchSettings& settings);

  std::string add(const BenchResult& result);
  std::string finish() const;

 private:
  struct Column {
    std::string name;
    int width;  // negative: aligned to the left
  };
  std::string table_head() const;
  std::string table_line(const std::vector<std::string>& cells) const;
  std::vector<std::string> table_cells(const BenchResult& result) const;

  BenchFormat format_;
  bool with_batch_, with_sequences_;
  std::vector<Column> columns_;
  std::vector<std::string> rooflines_;
  size_t n_rows_ = 0;
};

}  // namespace packhorse::cli
