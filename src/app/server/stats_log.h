#pragma once
// Throughput in words, for the log.

#include <chrono>
#include <string>

#include "packhorse/packhorse.h"

namespace packhorse::server {

/// What happened between two looks at the counters.
class StatsLog {
 public:
  /// One line; empty while nothing happens. `seconds` since the last call.
  std::string line(const EngineStats& now, double seconds);

 private:
  EngineStats last_;
  bool was_busy_ = false;
};

}  // namespace packhorse::server
