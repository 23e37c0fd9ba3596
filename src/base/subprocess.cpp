#include "base/subprocess.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace packhorse {
namespace {

constexpr size_t kMaxErrorText = 64 << 10;
constexpr int kNotStarted = 127;

/// What becomes the other program. Runs between fork and exec, where only async-signal-safe calls are allowed;
/// `status_pipe` takes errno when there is no such program.
[[noreturn]] void run_child(char* const* argv, pid_t parent, bool show_output, int error_pipe, int status_pipe) {
  // Whatever ends us (the command line ends at once on Ctrl-C) also interrupts the child, which may clean up behind
  // itself. The parent may be gone already.
  ::prctl(PR_SET_PDEATHSIG, SIGINT);
  if (::getppid() != parent) ::_exit(kNotStarted);
  // Ignored signals would be inherited.
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM, SIGXFSZ}) ::signal(signal, SIG_DFL);
  const int null = ::open("/dev/null", O_RDWR);
  const bool ok = null >= 0 && ::dup2(null, STDIN_FILENO) >= 0 &&
                  ::dup2(show_output ? STDERR_FILENO : null, STDOUT_FILENO) >= 0 &&
                  ::dup2(error_pipe, STDERR_FILENO) >= 0;
  if (ok) ::execvp(argv[0], argv);
  const int error = errno;
  [[maybe_unused]] const ssize_t n = ::write(status_pipe, &error, sizeof(error));
  ::_exit(kNotStarted);
}

/// Two connected descriptors, closed in the end.
class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_.data(), O_CLOEXEC) != 0) fail(ErrorKind::io, "cannot make a pipe: {}", std::strerror(errno));
  }
  ~Pipe() {
    ::close(ends_[0]);
    close_write_end();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int read_end() const { return ends_[0]; }
  int write_end() const { return ends_[1]; }
  void close_write_end() {
    if (ends_[1] >= 0) ::close(std::exchange(ends_[1], -1));
  }

 private:
  std::array<int, 2> ends_{};
};

/// Reads to the end and keeps the last kMaxErrorText bytes.
std::string read_tail(int descriptor) {
  std::string text;
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t n = ::read(descriptor, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    text.append(buffer.data(), static_cast<size_t>(n));
    if (text.size() > 2 * kMaxErrorText) text.erase(0, text.size() - kMaxErrorText);
  }
}

}  // namespace

ProcessResult run_process(const std::vector<std::string>& arguments, bool show_output) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  Pipe error_pipe, status_pipe;
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) run_child(argv.data(), parent, show_output, error_pipe.write_end(), status_pipe.write_end());
  if (child < 0) fail(ErrorKind::io, "cannot start '{}': {}", printable(arguments[0]), std::strerror(errno));
  error_pipe.close_write_end();
  status_pipe.close_write_end();
  const std::string start_error = read_tail(status_pipe.read_end());  // ends when the other program begins
  ProcessResult result;
  result.error_text = read_tail(error_pipe.read_end());
  int state = 0;
  while (::waitpid(child, &state, 0) < 0) {
    if (errno != EINTR) fail(ErrorKind::io, "cannot wait for '{}': {}", printable(arguments[0]), std::strerror(errno));
  }
  if (int error = 0; start_error.size() == sizeof(error)) {
    std::memcpy(&error, start_error.data(), sizeof(error));
    fail(ErrorKind::io, "cannot start '{}': {}", printable(arguments[0]), std::strerror(error));
  }
  result.status = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
  return result;
}

}  // namespace packhorse
