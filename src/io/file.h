#pragma once
// Read-only regular file, read by pread; nothing is mapped, so a file cut while it is read is an error and not a
// SIGBUS.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace packhorse {

/// Thread-safe for reads. Owns its descriptor.
class File {
 public:
  /// Throws Error{model} when the path is missing or not a regular file (a FIFO or device is never opened for reading;
  /// a symlink to a regular file is fine, hub caches are made of them), Error{io} when it cannot be opened.
  explicit File(std::string path);
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&&) = delete;

  const std::string& path() const { return path_; }
  /// Last path component, as errors print it.
  std::string_view name() const;
  uint64_t size() const { return size_; }
  /// Fills `out` from `offset`. Short reads and EINTR are retried; Error{io} on failure or when the file became
  /// shorter.
  void read(uint64_t offset, std::span<std::byte> out) const;
  /// Whole file as text. Error{model} when it is larger than `max_bytes`.
  std::string read_all(uint64_t max_bytes) const;
  /// Error{io} when size or modification time are no longer those of the opening; for the end of loading.
  void check_unchanged() const;

 private:
  File() = default;
  [[noreturn]] void fail_changed() const;

  std::string path_;
  uint64_t size_ = 0;
  int64_t modified_ns_ = 0;
  int fd_ = -1;
};

}  // namespace packhorse
