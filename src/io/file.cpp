#include "io/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace packhorse {
namespace {

/// Paths come from the user, so messages show more of them than of names out of a file.
constexpr size_t kMaxPathShown = 1024;

std::string reason(int error) { return std::generic_category().message(error); }

int64_t modified_ns(const struct stat& status) {
  return status.st_mtim.tv_sec * int64_t{1'000'000'000} + status.st_mtim.tv_nsec;
}

[[noreturn]] void fail_open(const std::string& path, int error) {
  const bool missing = error == ENOENT || error == ENOTDIR;
  fail(missing ? ErrorKind::model : ErrorKind::io, "{}: cannot open: {}", printable(path, kMaxPathShown),
       reason(error));
}

}  // namespace

File::File(std::string path) : File() {
  path_ = std::move(path);
  if (path_.find('\0') != std::string::npos) fail_open(path_, ENOENT);
  // A FIFO would block in open and a device may act on it: look before opening, and again in case it was swapped.
  struct stat status {};
  if (::stat(path_.c_str(), &status) != 0) fail_open(path_, errno);
  if (S_ISREG(status.st_mode)) {
    fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd_ < 0) fail_open(path_, errno);
    if (::fstat(fd_, &status) != 0) fail_open(path_, errno);
  }
  if (!S_ISREG(status.st_mode)) fail_model("{}: not a regular file", printable(path_, kMaxPathShown));
  size_ = static_cast<uint64_t>(status.st_size);
  modified_ns_ = modified_ns(status);
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

File::File(File&& other) noexcept
    : path_(std::move(other.path_)),
      size_(other.size_),
      modified_ns_(other.modified_ns_),
      fd_(std::exchange(other.fd_, -1)) {}

std::string_view File::name() const {
  const std::string_view path = path_;
  return path.substr(path.find_last_of('/') + 1);
}

void File::read(uint64_t offset, std::span<std::byte> out) const {
  if (offset > size_ || out.size() > size_ - offset) {
    fail(ErrorKind::internal, "{}: read of {} bytes at {}, file has {}", printable(name()), out.size(), offset, size_);
  }
  while (!out.empty()) {
    constexpr size_t kMaxCall = size_t{1} << 30;  // the kernel cuts longer calls anyway
    const ssize_t n = ::pread(fd_, out.data(), std::min(out.size(), kMaxCall), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(ErrorKind::io, "{}: cannot read at byte {}: {}", printable(name()), offset, reason(errno));
    if (n == 0) fail_changed();
    offset += static_cast<uint64_t>(n);
    out = out.subspan(static_cast<size_t>(n));
  }
}

std::string File::read_all(uint64_t max_bytes) const {
  if (size_ > max_bytes)
    fail_model("{}: file is too large (got {} bytes, limit {})", printable(name()), size_, max_bytes);
  std::string text(size_, '\0');
  read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

void File::check_unchanged() const {
  struct stat status {};
  if (::fstat(fd_, &status) != 0) fail(ErrorKind::io, "{}: cannot read: {}", printable(name()), reason(errno));
  if (static_cast<uint64_t>(status.st_size) != size_ || modified_ns(status) != modified_ns_) fail_changed();
}

void File::fail_changed() const { fail(ErrorKind::io, "{}: file changed while loading", printable(name())); }

}  // namespace packhorse
