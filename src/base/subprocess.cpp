#include "base/subprocess.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/error.h"

extern char** environ;

namespace packhorse {
namespace {

constexpr size_t kMaxErrorText = 64 << 10;

/// What the child sees on its three standard descriptors, and default signals: an ignored SIGPIPE would be inherited.
class SpawnSettings {
 public:
  SpawnSettings(bool show_output, int error_pipe) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (show_output)
      posix_spawn_file_actions_adddup2(&actions_, STDERR_FILENO, STDOUT_FILENO);
    else
      posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions_, error_pipe, STDERR_FILENO);
    posix_spawnattr_init(&attributes_);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes_, &signals);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
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
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) fail(ErrorKind::io, "cannot make a pipe: {}", std::strerror(errno));
  pid_t child = 0;
  const SpawnSettings settings(show_output, pipe[1]);
  const int error = ::posix_spawnp(&child, argv[0], settings.actions(), settings.attributes(), argv.data(), environ);
  ::close(pipe[1]);
  ProcessResult result;
  if (error == 0) result.error_text = read_tail(pipe[0]);
  ::close(pipe[0]);
  if (error != 0) fail(ErrorKind::io, "cannot start '{}': {}", printable(arguments[0]), std::strerror(error));
  int state = 0;
  while (::waitpid(child, &state, 0) < 0) {
    if (errno != EINTR) fail(ErrorKind::io, "cannot wait for '{}': {}", printable(arguments[0]), std::strerror(errno));
  }
  result.status = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
  return result;
}

}  // namespace packhorse
