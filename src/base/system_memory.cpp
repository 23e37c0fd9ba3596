#include "base/system_memory.h"

#include <algorithm>
#include <fstream>
#include <string>

namespace packhorse {
namespace {

/// The first number of a file; `fallback` for "max" and for a file that is not there.
uint64_t read_number(const char* path, uint64_t fallback) {
  std::ifstream file(path);
  uint64_t value = 0;
  return file >> value ? value : fallback;
}

uint64_t system_available() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  uint64_t kib = 0;
  while (file >> key >> kib) {
    if (key == "MemAvailable:") return kib * 1024;
    file.ignore(256, '\n');
  }
  return 0;
}

}  // namespace

uint64_t available_memory() {
  const uint64_t limit = read_number("/sys/fs/cgroup/memory.max", UINT64_MAX);
  const uint64_t used = read_number("/sys/fs/cgroup/memory.current", 0);
  return std::min(system_available(), limit > used ? limit - used : 0);
}

}  // namespace packhorse
