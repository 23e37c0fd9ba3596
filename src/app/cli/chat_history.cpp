#include "app/cli/chat_history.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "packhorse/packhorse.h"

namespace packhorse::cli {
namespace {

constexpr mode_t kOwnerOnly = 0600;

[[noreturn]] void fail(const std::string& path, const char* what) {
  throw Error(ErrorKind::io,
              fmt::format("{}: cannot {} the history: {}", printable(path, 400), what, std::strerror(errno)));
}

/// An open regular file that belongs to its owner alone.
class File {
 public:
  File(const std::string& path, int flags) : path_(path) {
    descriptor_ = ::open(path.c_str(), flags | O_CREAT | O_CLOEXEC | O_NONBLOCK, kOwnerOnly);
    struct stat info {};
    if (descriptor_ < 0 || ::fstat(descriptor_, &info) != 0) fail(path, "open");
    size_ = static_cast<size_t>(std::max<off_t>(info.st_size, 0));
    if (!S_ISREG(info.st_mode)) {
      ::close(descriptor_);
      throw Error(ErrorKind::io, fmt::format("{}: the history is not a regular file", printable(path, 400)));
    }
    if ((info.st_mode & 0777) != kOwnerOnly) ::fchmod(descriptor_, kOwnerOnly);
  }
  ~File() { ::close(descriptor_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  size_t size() const { return size_; }
  /// All bytes, or those from `first` on.
  std::string read_from(size_t first) const {
    std::string text(size_ - std::min(first, size_), '\0');
    const ssize_t n = ::pread(descriptor_, text.data(), text.size(), static_cast<off_t>(first));
    if (n < 0) fail(path_, "read");
    text.resize(static_cast<size_t>(n));
    return text;
  }
  void write(std::string_view text) const {
    if (::write(descriptor_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) fail(path_, "write");
  }

 private:
  const std::string& path_;
  int descriptor_ = -1;
  size_t size_ = 0;
};

}  // namespace

ChatHistory::ChatHistory(std::string path) : path_(std::move(path)) {
  const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
  std::error_code error;
  if (std::filesystem::create_directories(folder, error)) {
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
  }
  File(path_, O_WRONLY | O_APPEND);
}

std::string ChatHistory::read_newest(size_t n_bytes) const {
  const File file(path_, O_RDONLY);
  const size_t first = file.size() - std::min(n_bytes, file.size());
  std::string text = file.read_from(first);
  if (first > 0) text.erase(0, std::min(text.find('\n'), text.size() - 1) + 1);  // its beginning was cut off
  return text;
}

std::vector<std::string> ChatHistory::load() const {
  const std::string text = read_newest(kMaxFileBytes);
  std::vector<std::string> entries;
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1) {
    const auto line = nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                            text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    if (line.is_string() && !line.get_ref<const std::string&>().empty()) entries.push_back(line.get<std::string>());
  }
  if (entries.size() > kMaxEntries) entries.erase(entries.begin(), entries.end() - kMaxEntries);
  return entries;
}

void ChatHistory::add(std::string_view entry) {
  if (entry.size() > kMaxEntryBytes) return;
  const auto replace = nlohmann::json::error_handler_t::replace;
  const File file(path_, O_WRONLY | O_APPEND);
  file.write(nlohmann::json(entry).dump(-1, ' ', false, replace) + "\n");
  if (file.size() > kMaxFileBytes) drop_older_half();
}

void ChatHistory::drop_older_half() const {
  const std::string newer = fmt::format("{}.{}", path_, ::getpid());
  File(newer, O_WRONLY | O_TRUNC).write(read_newest(kMaxFileBytes / 2));
  std::error_code error;
  std::filesystem::rename(newer, path_, error);
  if (error) std::filesystem::remove(newer, error);
}

std::string ChatHistory::default_path() {
  const auto absolute = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value && *value == '/' ? value : "");
  };
  std::string folder = absolute("XDG_STATE_HOME");
  if (folder.empty() && !absolute("HOME").empty()) folder = absolute("HOME") + "/.local/state";
  return folder.empty() ? "" : folder + "/packhorse/chat_history";
}

}  // namespace packhorse::cli
