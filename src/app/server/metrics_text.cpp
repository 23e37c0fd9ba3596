#include "app/server/metrics_text.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace packhorse::server {
namespace {

/// As Python's clients write floats: whole numbers with ".0".
std::string number_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return value == std::floor(value) && std::abs(value) < 1e15 ? fmt::format("{:.1f}", value) : fmt::format("{}", value);
}

}  // namespace

std::string label_text(Labels labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    text += fmt::format("{}{}=\"", text.empty() ? "" : ",", name);
    for (const char c : value) {
      if (c == '\n') {
        text += "\\n";
        continue;
      }
      if (c == '\\' || c == '"') text.push_back('\\');
      text.push_back(c);
    }
    text.push_back('"');
  }
  return text;
}

void Histogram::observe(double value) {
  const auto it = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  ++counts_[static_cast<size_t>(it - bounds_.begin())];
  sum_ += value;
}

std::vector<double> bounds_125(int64_t highest) {
  std::vector<double> bounds;
  for (int64_t power = 1;; power *= 10) {
    for (const int64_t digit : {1, 2, 5}) {
      if (digit * power > highest) return bounds;
      bounds.push_back(static_cast<double>(digit * power));
    }
  }
}

void MetricsPage::family(std::string_view name, std::string_view type, std::string_view help) {
  text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void MetricsPage::sample(std::string_view name, const std::string& labels, double value) {
  text_ += labels.empty() ? fmt::format("{} {}\n", name, number_text(value))
                          : fmt::format("{}{{{}}} {}\n", name, labels, number_text(value));
}

void MetricsPage::histogram(std::string_view name, const std::string& labels, const Histogram& histogram) {
  const std::string bucket = fmt::format("{}_bucket", name), comma = labels.empty() ? "" : ",";
  int64_t n = 0;
  for (size_t i = 0; i < histogram.counts().size(); ++i) {
    n += histogram.counts()[i];
    const std::string bound = i < histogram.bounds().size() ? number_text(histogram.bounds()[i]) : "+Inf";
    sample(bucket, fmt::format("{}{}le=\"{}\"", labels, comma, bound), static_cast<double>(n));
  }
  sample(fmt::format("{}_count", name), labels, static_cast<double>(n));
  sample(fmt::format("{}_sum", name), labels, histogram.sum());
}

void MetricsPage::single(std::string_view name, std::string_view type, std::string_view help, const std::string& labels,
                         double value) {
  family(name, type, help);
  sample(name, labels, value);
}

void add_process_metrics(MetricsPage& page) {
  const auto page_size = static_cast<double>(::sysconf(_SC_PAGESIZE)),
             ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  std::ifstream statm("/proc/self/statm"), stat("/proc/self/stat"), system("/proc/stat");
  double n_virtual = 0, n_resident = 0;
  if (statm >> n_virtual >> n_resident) {
    page.single("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", "", n_virtual * page_size);
    page.single("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", "", n_resident * page_size);
  }
  std::string text;
  std::getline(stat, text);
  // The name in parentheses may hold anything; fields are counted from its end: the first one there is field 3.
  std::istringstream fields(text.substr(std::min(text.rfind(')') + 1, text.size())));
  std::vector<std::string> words;
  for (std::string word; fields >> word;) words.push_back(word);
  constexpr size_t kUser = 11, kSystem = 12, kStart = 19;
  if (words.size() > kStart) {
    page.single("process_cpu_seconds_total", "counter", "User and system CPU time in seconds.", "",
                (std::stod(words[kUser]) + std::stod(words[kSystem])) / ticks);
    double boot = 0;
    for (std::string word; system >> word;) {
      if (word == "btime" && system >> boot) break;
    }
    if (boot > 0)
      page.single("process_start_time_seconds", "gauge", "Start of the process in seconds since 1970.", "",
                  boot + std::stod(words[kStart]) / ticks);
  }
  std::error_code unknown;
  const std::filesystem::directory_iterator files("/proc/self/fd", unknown);
  if (!unknown)
    page.single("process_open_fds", "gauge", "Open file descriptors.", "",
                static_cast<double>(std::distance(begin(files), end(files))));
}

}  // namespace packhorse::server
