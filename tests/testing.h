#pragma once
// What tests share: where fixtures lie, and a folder that vanishes.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <string_view>

namespace packhorse::testing {

/// Full set of fixtures; may be absent (then tests that need it are skipped and counted).
inline std::filesystem::path shared_dir() {
  const char* dir = std::getenv("PACKHORSE_SHARED");
  return dir && *dir ? dir : PACKHORSE_SOURCE_DIR "/../shared";
}
/// Where `checkpoints/unpack` was run by the test target; holds formats/ and arch/.
inline std::filesystem::path checkpoints_dir() {
  const char* dir = std::getenv("PACKHORSE_CHECKPOINTS");
  return dir && *dir ? dir : PACKHORSE_SOURCE_DIR "/build/checkpoints";
}
/// Fixtures of the repository.
inline std::filesystem::path golden_dir() { return PACKHORSE_SOURCE_DIR "/tests/golden"; }

/// A fresh folder, removed with all it holds.
class TempDir {
 public:
  TempDir() {
    std::random_device seed;
    path_ =
        std::filesystem::temp_directory_path() / ("packhorse-test-" + std::to_string(seed()) + std::to_string(seed()));
    std::filesystem::create_directories(path_);
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::string file(std::string_view name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void write_text(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}

/// Highest resident memory since the last call with `reset`, in KiB; -1 where the kernel does not tell.
inline long peak_kib(bool reset) {
  if (reset && !(std::ofstream("/proc/self/clear_refs") << 5).flush()) return -1;
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    long kib = -1;
    if (word == "VmHWM:" && status >> kib) return kib;
  }
  return -1;
}

}  // namespace packhorse::testing
