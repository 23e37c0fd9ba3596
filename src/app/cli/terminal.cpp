#include "app/cli/terminal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "packhorse/packhorse.h"

namespace packhorse::cli {
namespace {

constexpr size_t kMaxPromptBytes = size_t{32} << 20;
constexpr size_t kMaxFileBytes = size_t{1} << 30;
constexpr const char* kStdin = "standard input";

/// 0, or errno of the write that failed.
int write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(descriptor, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    text.remove_prefix(static_cast<size_t>(n));
  }
  return 0;
}

/// Reads a piece behind the end of `text`; false at the end of the file.
bool read_more(int descriptor, const std::string& what, std::string& text) {
  constexpr size_t kPiece = size_t{1} << 16;
  const size_t used = text.size();
  text.resize(used + kPiece);
  ssize_t n = 0;
  do n = ::read(descriptor, text.data() + used, kPiece);
  while (n < 0 && errno == EINTR);
  if (n < 0) throw Error(ErrorKind::io, fmt::format("{}: cannot read: {}", what, std::strerror(errno)));
  text.resize(used + static_cast<size_t>(n));
  return n > 0;
}

/// Reads to the end; `what` names the source in errors, `too_large` is the kind of the error beyond `limit`.
std::string read_all(int descriptor, const std::string& what, size_t limit, ErrorKind too_large) {
  std::string text;
  while (read_more(descriptor, what, text)) {
    if (text.size() > limit) throw Error(too_large, fmt::format("{}: more than {} MB", what, limit >> 20));
  }
  return text;
}

extern "C" void end_process(int signal) { ::_exit(128 + signal); }

}  // namespace

bool is_terminal(int descriptor) { return ::isatty(descriptor) == 1; }

bool wants_color(int descriptor) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return is_terminal(descriptor) && !(no_color && *no_color) && !(term && std::string_view(term) == "dumb");
}

void write_stdout(std::string_view text) {
  if (const int error = write_all(STDOUT_FILENO, text)) {
    throw Error(ErrorKind::io, fmt::format("standard output: cannot write: {}", std::strerror(error)));
  }
}

void write_stderr(std::string_view text) { write_all(STDERR_FILENO, text); }

void write_note(std::string_view line) {
  write_stderr(wants_color(STDERR_FILENO) ? fmt::format("\x1b[2m{}\x1b[0m\n", line) : fmt::format("{}\n", line));
}

std::string without_controls(std::string_view text) {
  std::string shown;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0u;
    if (byte == 0xc2 && next >= 0x80 && next < 0xa0) {
      ++i;  // U+0080 to U+009F
    } else if ((byte >= 0x20 && byte != 0x7f) || byte == '\n' || byte == '\t') {
      shown.push_back(text[i]);
    }
  }
  return shown;
}

void install_signal_handlers() {
  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  action.sa_handler = end_process;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
  sigaction(SIGXFSZ, &action, nullptr);
}

std::optional<std::string> StdinLines::next() {
  size_t searched = 0, end = 0;
  while ((end = buffer_.find('\n', searched)) == buffer_.npos) {
    searched = buffer_.size();
    if (read_more(STDIN_FILENO, kStdin, buffer_)) {
      if (buffer_.size() <= kMaxPromptBytes) continue;
      throw Error(ErrorKind::request, fmt::format("{}: a line of more than {} MB", kStdin, kMaxPromptBytes >> 20));
    }
    if (buffer_.empty()) return std::nullopt;
    buffer_.push_back('\n');  // the last line need not end
  }
  std::string line = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  return line;
}

std::string read_stdin() { return read_all(STDIN_FILENO, kStdin, kMaxPromptBytes, ErrorKind::request); }

std::string read_text_file(const std::string& path) {
  const std::string name = printable(path);
  // Without O_NONBLOCK the opening of a FIFO would wait for a writer.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) throw Error(ErrorKind::io, fmt::format("{}: cannot open: {}", name, std::strerror(errno)));
  const std::unique_ptr<const int, void (*)(const int*)> closer(&descriptor, [](const int* d) { ::close(*d); });
  struct stat info {};
  if (::fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    throw Error(ErrorKind::usage, fmt::format("{}: not a regular file", name));
  }
  return read_all(descriptor, name, kMaxFileBytes, ErrorKind::usage);
}

}  // namespace packhorse::cli
