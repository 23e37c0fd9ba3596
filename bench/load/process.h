#pragma once
// What processes use, by /proc.

#include <cstdint>
#include <map>
#include <string>

namespace packhorse::load {

/// CPU seconds of this process.
double own_cpu_seconds();

/// CPU seconds of each thread name of a process; threads that have ended are under "ended". Empty when it is gone.
std::map<std::string, double> cpu_by_thread_name(int64_t pid);

/// Bytes of resident memory; 0 when it is gone.
int64_t resident_bytes(int64_t pid);

}  // namespace packhorse::load
