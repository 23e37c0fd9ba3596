#include "engine/hub/download.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include "base/cached_file.h"
#include "base/digest.h"
#include "base/error.h"

namespace packhorse::hub {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kProgressBytes = 1 << 20;  // an attempt that brought so much was worth it

bool is_hex(std::string_view text) {
  const auto digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return std::all_of(text.begin(), text.end(), digit);
}

/// The checksum that an etag is, if it is one. Git's is that of "blob <size>\0" and the content.
std::optional<Digest> digest_of(const FileInfo& file) {
  if (!is_hex(file.etag) || (file.etag.size() != 64 && file.etag.size() != 40)) return std::nullopt;
  if (file.etag.size() == 64) return Digest(DigestKind::sha256);
  Digest digest(DigestKind::sha1);
  const std::string header = fmt::format("blob {}", file.n_bytes);
  digest.update(std::as_bytes(std::span(header.c_str(), header.size() + 1)));
  return digest;
}

/// blobs/<etag>.incomplete, continued where it ends.
class PartialBlob : public ByteSink {
 public:
  PartialBlob(const Cache& cache, const FileInfo& file, Progress& progress)
      : file_(file), path_(cache.partial(file.etag)), out_(path_, O_RDWR | O_CREAT), progress_(progress) {
    struct stat status {};
    if (::fstat(out_.get(), &status) != 0) fail_errno(path_, "read");
    const auto n_there = static_cast<uint64_t>(status.st_size);
    digest_ = digest_of(file_);
    if (n_there > file_.n_bytes) {
      restart();
    } else {
      add_what_is_there(n_there);
    }
    was_continued_ = n_bytes_ > 0;
  }

  uint64_t n_bytes() const { return n_bytes_; }
  bool was_continued() const { return was_continued_; }

  void begin_at(uint64_t offset) override {
    if (offset == 0 && n_bytes_ > 0) restart();
  }

  void append(std::span<const std::byte> data) override {
    if (data.size() > file_.n_bytes - n_bytes_) fail_content("longer than it should be");
    if (digest_) digest_->update(data);
    while (!data.empty()) {
      const ssize_t n = ::pwrite(out_.get(), data.data(), data.size(), static_cast<off_t>(n_bytes_));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail_write();
      n_bytes_ += static_cast<uint64_t>(n);
      data = data.subspan(static_cast<size_t>(n));
    }
    progress_.set_current(n_bytes_);
  }

  bool has_right_checksum() {
    if (!digest_) return true;  // neither SHA-256 nor git's: the size has to do
    checksum_ = digest_->hex();
    return checksum_ == file_.etag;
  }

  void restart() {
    if (::ftruncate(out_.get(), 0) != 0) fail_errno(path_, "write");
    digest_ = digest_of(file_);
    n_bytes_ = 0;
    was_continued_ = false;
  }

  void keep(const fs::path& target) {
    if (::fsync(out_.get()) != 0) fail_write();
    fs::rename(path_, target);
    sync_to_disk(target.parent_path(), O_RDONLY | O_DIRECTORY);
  }

  /// The server's content is wrong: nothing of it is worth continuing.
  [[noreturn]] void fail_content(std::string_view what) {
    ::unlink(path_.c_str());
    const std::string sum =
        checksum_.empty() ? "" : fmt::format(", {} {}", checksum_.size() == 64 ? "sha256" : "git sha1", checksum_);
    fail(ErrorKind::io, "{}: the download is {} and not used (got {} bytes{}; expected {} bytes, etag {})",
         printable(file_.path, 160), what, n_bytes_, sum, file_.n_bytes, file_.etag);
  }

 private:
  void add_what_is_there(uint64_t n_there) {
    std::vector<std::byte> buffer(std::min<uint64_t>(n_there, 1 << 20));
    while (n_bytes_ < n_there) {
      const ssize_t n = ::pread(out_.get(), buffer.data(), buffer.size(), static_cast<off_t>(n_bytes_));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail_errno(path_, "read");
      if (digest_) digest_->update(std::span(buffer).first(static_cast<size_t>(n)));
      n_bytes_ += static_cast<uint64_t>(n);
      progress_.set_current(n_bytes_);
    }
  }

  [[noreturn]] void fail_write() {
    const int error = errno;
    const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
    fail(ErrorKind::io, "{}: cannot write: {}{}", shown(path_), std::strerror(error),
         full ? fmt::format(" ('{}' needs {} bytes more; what there is will be continued)", printable(file_.path, 160),
                            file_.n_bytes - n_bytes_)
              : "");
  }

  const FileInfo& file_;
  fs::path path_;
  Descriptor out_;
  Progress& progress_;
  std::optional<Digest> digest_;
  std::string checksum_;
  uint64_t n_bytes_ = 0;
  bool was_continued_ = false;
};

void fill(Client& client, const std::string& commit, const FileInfo& file, PartialBlob& partial) {
  for (int n_failed = 0; partial.n_bytes() < file.n_bytes;) {
    const uint64_t before = partial.n_bytes();
    try {
      client.read(commit, file, before, partial);
      if (partial.n_bytes() < file.n_bytes) partial.fail_content("shorter than it should be");
    } catch (const NetworkError& error) {
      n_failed = partial.n_bytes() >= before + kProgressBytes ? 1 : n_failed + 1;
      client.wait_after(error, n_failed);
    }
  }
}

}  // namespace

void Progress::tick() {
  const auto now = std::chrono::steady_clock::now();
  if (!on_progress_ || now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  on_progress_(what_, finished_ + current_, total_);
}

bool has_blob(const Cache& cache, const FileInfo& file) {
  std::error_code error;
  const fs::path path = cache.blob(file.etag);
  return fs::is_regular_file(path, error) && fs::file_size(path, error) == file.n_bytes && !error;
}

void download_blob(Client& client, const Cache& cache, const std::string& commit, const FileInfo& file,
                   Progress& progress) {
  const fs::path lock_path = cache.lock(file.etag);
  fs::create_directories(lock_path.parent_path());
  fs::create_directories(cache.blob(file.etag).parent_path());
  const FileLock lock(lock_path, [&] { progress.tick(); });
  if (has_blob(cache, file)) return;  // another process was faster
  PartialBlob partial(cache, file, progress);
  fill(client, commit, file, partial);
  if (!partial.has_right_checksum()) {
    if (!partial.was_continued()) partial.fail_content("wrong by its checksum");
    partial.restart();  // what was there may be at fault
    fill(client, commit, file, partial);
    if (!partial.has_right_checksum()) partial.fail_content("wrong by its checksum");
  }
  partial.keep(cache.blob(file.etag));
}

}  // namespace packhorse::hub
