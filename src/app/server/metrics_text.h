#pragma once
// Prometheus' text format, version 0.0.4: pieces of the page that /metrics answers.

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace packhorse::server {

using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;
/// {name="value",...} without the braces, values escaped.
std::string label_text(Labels labels);

/// Counts of observations up to each bound, and their sum.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}
  void observe(double value);
  const std::vector<double>& bounds() const { return bounds_; }
  /// Of the last one: what is above all bounds.
  const std::vector<int64_t>& counts() const { return counts_; }
  double sum() const { return sum_; }

 private:
  std::vector<double> bounds_;
  std::vector<int64_t> counts_;
  double sum_ = 0;
};

/// 1, 2, 5, 10, 20, ... up to `highest`.
std::vector<double> bounds_125(int64_t highest);

class MetricsPage {
 public:
  /// The lines before the samples of a family. `type` is counter, gauge or histogram.
  void family(std::string_view name, std::string_view type, std::string_view help);
  void sample(std::string_view name, const std::string& labels, double value);
  void histogram(std::string_view name, const std::string& labels, const Histogram& histogram);
  /// A family of one sample.
  void single(std::string_view name, std::string_view type, std::string_view help, const std::string& labels,
              double value);
  std::string text() && { return std::move(text_); }

 private:
  std::string text_;
};

/// process_*: memory, processor time, open files and start, as far as the system tells.
void add_process_metrics(MetricsPage& page);

}  // namespace packhorse::server
