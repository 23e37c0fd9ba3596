#include "load/process.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

namespace packhorse::load {
namespace {

namespace fs = std::filesystem;

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

struct Stat {
  std::string name;
  double cpu_seconds = 0;
};

/// Name and CPU time of a stat file. The name stands in parentheses and may hold any character.
std::optional<Stat> read_stat(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  const std::string line = text.str();
  const size_t open = line.find('('), close = line.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(close + 1));
  constexpr int kFieldsBeforeTimes = 11;  // state ... cmajflt
  std::string skipped;
  for (int i = 0; i < kFieldsBeforeTimes; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return Stat{line.substr(open + 1, close - open - 1), (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK))};
}

}  // namespace

double own_cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::map<std::string, double> cpu_by_thread_name(int64_t pid) {
  std::map<std::string, double> cpu;
  const fs::path process = fmt::format("/proc/{}", pid);
  const auto whole = read_stat(process / "stat");
  if (!whole) return cpu;
  double living = 0;
  std::error_code error;
  for (const auto& task : fs::directory_iterator(process / "task", error)) {
    const auto stat = read_stat(task.path() / "stat");
    if (!stat) continue;  // it has just ended
    cpu[stat->name] += stat->cpu_seconds;
    living += stat->cpu_seconds;
  }
  cpu["ended"] = whole->cpu_seconds > living ? whole->cpu_seconds - living : 0;
  return cpu;
}

int64_t resident_bytes(int64_t pid) {
  std::ifstream file(fmt::format("/proc/{}/statm", pid));
  int64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

}  // namespace packhorse::load
