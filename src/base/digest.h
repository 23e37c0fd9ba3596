#pragma once
// SHA-1 and SHA-256, to check files that were downloaded.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace packhorse {

enum class DigestKind : uint8_t { sha1, sha256 };

class Digest {
 public:
  explicit Digest(DigestKind kind);
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  void update(std::span<const std::byte> data);
  /// Digest of all that was given, as lower-case hexadecimal digits; ends the use of the object.
  std::string hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

/// SHA-256 of a file, read from its beginning to its end. Throws Error{io}.
std::string sha256_of_file(const std::string& path);

}  // namespace packhorse
