#pragma once
// Lines for standard error, written by a thread of their own: a reader that does not read holds up nobody.

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

namespace packhorse::server {

/// Thread-safe. What does not fit the buffer is dropped and counted; a closed standard error is ignored.
class LogWriter {
 public:
  LogWriter();
  /// Writes what is left, for a second at most.
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  /// A line without its end.
  void write(std::string line);

 private:
  void loop();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::string buffer_;
  int64_t n_lost_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

/// "2026-01-31T12:34:56.789Z", for the beginning of lines.
std::string log_time();

}  // namespace packhorse::server
