#include "engine/structured/xgrammar_time.h"

#include <cassert>
#include <ctime>
#include <limits>
#include <string>

#include "engine/structured/xgrammar_hooks.h"

namespace packhorse {
namespace {

constexpr int64_t kChecksPerLook = 4096;  // well below a millisecond
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double kSlowdown = 5;  // by the checks of such a build
#else
constexpr double kSlowdown = 1;
#endif
constexpr double kNoLimit = std::numeric_limits<double>::infinity();

constinit thread_local double end_of_time = kNoLimit;
thread_local std::string first_warning;

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace

constinit thread_local int64_t checks_before_clock = std::numeric_limits<int64_t>::max();

void look_at_clock() {
  checks_before_clock = kChecksPerLook;
  if (end_of_time != kNoLimit && cpu_seconds() > end_of_time) throw XgrammarOutOfTime();
}

XgrammarTime::XgrammarTime(double seconds) : begin_(cpu_seconds()) {
  assert(end_of_time == kNoLimit);
  end_of_time = begin_ + seconds * kSlowdown;
  checks_before_clock = kChecksPerLook;
  first_warning.clear();
}

const std::string& XgrammarTime::warning() { return first_warning; }

double XgrammarTime::used() const { return (cpu_seconds() - begin_) / kSlowdown; }

XgrammarTime::~XgrammarTime() {
  end_of_time = kNoLimit;
  checks_before_clock = std::numeric_limits<int64_t>::max();
}

void keep_xgrammar_warning(const std::string& message) {
  if (first_warning.empty()) first_warning = message;
}

}  // namespace packhorse

namespace xgrammar {

// What xgrammar asks its embedder for: the library ends no process and writes to no stream. Its own messages name
// source files; these hold what was wrong alone.
void LogFatalImpl(const std::string&, int, const std::string& message) { throw std::runtime_error(message); }
void LogMessageImpl(const std::string&, int, int level, const std::string& message) {
  constexpr int kWarning = 2;  // XGRAMMAR_LOG_LEVEL_WARNING
  if (level >= kWarning) packhorse::keep_xgrammar_warning(message);
}

}  // namespace xgrammar
