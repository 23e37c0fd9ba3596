#pragma once
// What the fuzz targets share: the one exception that may escape, inputs made of several parts, and files in memory.

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "packhorse/packhorse.h"

namespace packhorse::fuzz {

/// A broken promise is a finding, as a crash is.
inline void check(bool promise, std::string_view what) {
  if (promise) return;
  std::fprintf(stderr, "broken promise: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

/// Runs `body`, which may end with an Error about its input. Any other exception escapes and is a finding.
template <class F>
void expect_error_only(F&& body) {
  try {
    body();
  } catch (const Error& error) {
    const std::string_view message = error.what();
    check(error.kind() != ErrorKind::internal, message);
    check(!message.empty() && message.size() < 8192, "an error message of another length than a line's");
    for (const char c : message) check(static_cast<unsigned char>(c) >= ' ' && c != '\x7f', "control byte in an error");
  }
}

/// Inputs that stand for several files hold them one after another, with this line between two.
inline constexpr std::string_view kBetweenParts = "\n---\n";

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}
/// At least `n_least` parts; those that the input lacks are empty.
inline std::vector<std::string_view> split_parts(std::string_view input, size_t n_least) {
  std::vector<std::string_view> parts;
  for (size_t end; (end = input.find(kBetweenParts)) != input.npos; input.remove_prefix(end + kBetweenParts.size())) {
    parts.push_back(input.substr(0, end));
  }
  parts.push_back(input);
  if (parts.size() < n_least) parts.resize(n_least);
  return parts;
}

/// A folder of this process, in memory where the system has such a place; removed at the end.
class Folder {
 public:
  Folder() {
    std::error_code error;
    const std::filesystem::path memory = "/dev/shm";
    const bool in_memory = ::access(memory.c_str(), W_OK) == 0;
    std::string name = (in_memory ? memory : std::filesystem::temp_directory_path(error)) / "packhorse-fuzz-XXXXXX";
    check(::mkdtemp(name.data()) != nullptr, "cannot make a folder");
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string path() const { return path_.string(); }
  std::string file(std::string_view name) const { return (path_ / name).string(); }
  void write(std::string_view name, std::string_view bytes) const {
    std::ofstream out(file(name), std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    out.close();
    check(!out.fail(), "cannot write a file");
  }
  /// The file holds `bytes`, or is not there when they are empty.
  void write_or_remove(std::string_view name, std::string_view bytes) const {
    if (!bytes.empty()) return write(name, bytes);
    std::error_code ignored;
    std::filesystem::remove(file(name), ignored);
  }

 private:
  std::filesystem::path path_;
};

/// One thread, so that an input does the same each time.
inline EngineOptions engine_options() {
  EngineOptions options;
  options.threads = 1;
  return options;
}

}  // namespace packhorse::fuzz
