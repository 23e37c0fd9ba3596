#include "app/server/log_writer.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <string_view>
#include <utility>

namespace packhorse::server {
namespace {

constexpr size_t kMaxBuffered = size_t{1} << 20;
constexpr std::chrono::seconds kLastWrites{1};
using Clock = std::chrono::steady_clock;

/// Writes as much as a pipe takes at once, so that `give_up` is looked at in between.
template <class GiveUp>
void write_pieces(std::string_view text, GiveUp give_up) {
  constexpr size_t kPiece = 4096;  // PIPE_BUF: a pipe that is ready takes it whole
  constexpr int kPatience = 100;   // milliseconds
  while (!text.empty() && !give_up()) {
    pollfd descriptor{STDERR_FILENO, POLLOUT, 0};
    const int ready = ::poll(&descriptor, 1, kPatience);
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    const ssize_t n = ::write(STDERR_FILENO, text.data(), std::min(text.size(), kPiece));
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return;  // closed: nobody is there to be told
    text.remove_prefix(static_cast<size_t>(n));
  }
}

}  // namespace

LogWriter::LogWriter() : thread_([this] { loop(); }) {}

LogWriter::~LogWriter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void LogWriter::write(std::string line) {
  line.push_back('\n');
  {
    const std::lock_guard lock(mutex_);
    if (buffer_.size() + line.size() > kMaxBuffered) {
      ++n_lost_;
      return;
    }
    buffer_ += line;
  }
  wake_.notify_one();
}

void LogWriter::loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !buffer_.empty(); });
    if (buffer_.empty()) return;
    std::string text = std::exchange(buffer_, {});
    if (const int64_t lost = std::exchange(n_lost_, 0)) text += fmt::format("{} log lines were lost\n", lost);
    lock.unlock();
    Clock::time_point deadline = Clock::time_point::max();
    write_pieces(text, [&] {
      const std::lock_guard again(mutex_);
      if (stopping_ && deadline == Clock::time_point::max()) deadline = Clock::now() + kLastWrites;
      return Clock::now() > deadline;
    });
    lock.lock();
  }
}

std::string log_time() {
  const auto now = std::chrono::system_clock::now();
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  return fmt::format("{:%FT%T}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(now)), millis);
}

}  // namespace packhorse::server
