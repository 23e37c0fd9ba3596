#pragma once
// SHA-256 (FIPS 180-4), to check files that were downloaded.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace packhorse {

class Sha256 {
 public:
  void update(std::span<const std::byte> data) noexcept;
  /// Digest of all that was given, as 64 lower-case hexadecimal digits; ends the use of the object.
  std::string hex() noexcept;

 private:
  void compress(const std::byte* block) noexcept;

  std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> block_{};  // the first n_bytes_ % 64 bytes wait for the rest
  uint64_t n_bytes_ = 0;
};

/// Digest of a file, read from its beginning to its end. Throws Error{io}.
std::string sha256_of_file(const std::string& path);

}  // namespace packhorse
