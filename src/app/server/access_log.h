#pragma once
// One line for each answer: who asked for what, and how it ended. Never keys, queries or bodies.

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/server/http/http_server.h"
#include "app/server/log_writer.h"

namespace packhorse::server {

enum class AccessLogFormat : uint8_t { none, text, json };

/// Used on one thread.
class AccessLog {
 public:
  using Clock = std::chrono::steady_clock;

  /// `quiet_paths`, apart by commas, get no lines. Lines about garbage are a second of `now` apart.
  AccessLog(LogWriter& writer, AccessLogFormat format, std::string_view quiet_paths = {},
            std::function<Clock::time_point()> now = Clock::now);
  void add(const AccessRecord& record);

 private:
  bool may_tell_of_garbage();

  LogWriter& writer_;
  AccessLogFormat format_;
  std::vector<std::string> quiet_paths_;
  std::function<Clock::time_point()> now_;
  std::optional<Clock::time_point> last_garbage_;
  int64_t n_untold_ = 0;  // bytes that were no requests, since the last line about one
};

/// Path and method as metrics label them, of a set that clients cannot enlarge: the pattern of the routes for the path
/// and a method of theirs, or "other".
std::string_view handler_label(const HttpRequest& request);
std::string_view method_label(const HttpRequest& request);

}  // namespace packhorse::server
