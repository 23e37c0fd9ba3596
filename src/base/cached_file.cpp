#include "base/cached_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/error.h"

namespace packhorse {

namespace fs = std::filesystem;

std::string shown(const fs::path& path) { return printable(path.string(), kMaxShownPath); }

void fail_errno(const fs::path& path, std::string_view what) {
  fail(ErrorKind::io, "{}: cannot {}: {}", shown(path), what, std::strerror(errno));
}

Descriptor::Descriptor(const fs::path& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
  if (fd_ < 0) fail_errno(path, "open");
}
Descriptor::~Descriptor() { ::close(fd_); }

FileLock::FileLock(const fs::path& path, const std::function<void()>& while_waiting) : file_(path, O_RDWR | O_CREAT) {
  for (bool told = false; ::flock(file_.get(), LOCK_EX | LOCK_NB) != 0;) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) fail_errno(path, "lock");
    if (!told) fmt::print(stderr, "waiting for another process that downloads to {}\n", shown(path.parent_path()));
    told = true;
    if (while_waiting) while_waiting();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

void sync_to_disk(const fs::path& path, int flags) {
  const Descriptor file(path, flags);
  if (::fsync(file.get()) != 0) fail_errno(path, "write");
}

void require_space(const fs::path& folder, uint64_t n_bytes) {
  if (const uint64_t free = fs::space(folder).available; free < n_bytes) {
    fail(ErrorKind::io, "{}: no space for the download (needs {} MB, free {} MB)", shown(folder),
         (n_bytes + 999'999) / 1'000'000, free / 1'000'000);
  }
}

}  // namespace packhorse
