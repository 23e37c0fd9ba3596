#pragma once
// A run: all clients from their first request to the end of their last.

#include <map>
#include <string>

#include "load/options.h"
#include "load/results.h"

namespace packhorse::load {

struct RunOutcome {
  Results results;
  double client_cpu = 0;                     // seconds
  std::map<std::string, double> server_cpu;  // seconds by thread name
};

/// Throws std::exception when the server's address is unknown.
RunOutcome run(const Options& options);

}  // namespace packhorse::load
