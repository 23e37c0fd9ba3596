#pragma once
// What downloads into a cache folder share: descriptors, locks among processes, writes that survive a crash.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace packhorse {

/// Bytes of a path that an error shows.
inline constexpr size_t kMaxShownPath = 400;
std::string shown(const std::filesystem::path& path);

/// Throws Error{io} "<path>: cannot <what>: <errno>".
[[noreturn]] void fail_errno(const std::filesystem::path& path, std::string_view what);

/// An open descriptor, closed in the end. Files that it makes have the mode that the umask leaves.
class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags);
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

/// Exclusive among processes and threads for as long as the object lives; the system releases it even when the holder
/// is killed. The lock file is made when missing and stays. While it waits, `while_waiting` is called about ten times a
/// second and may throw.
class FileLock {
 public:
  explicit FileLock(const std::filesystem::path& path, const std::function<void()>& while_waiting = {});

 private:
  Descriptor file_;
};

/// Writes what the system still holds of a file or (with O_DIRECTORY in `flags`) of a folder's names to the disk.
void sync_to_disk(const std::filesystem::path& path, int flags);

/// Throws Error{io} when the file system of `folder` has less than `n_bytes` left.
void require_space(const std::filesystem::path& folder, uint64_t n_bytes);

}  // namespace packhorse
