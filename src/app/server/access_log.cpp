#include "app/server/access_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/server/http/text.h"
#include "packhorse/packhorse.h"

namespace packhorse::server {
namespace {

constexpr size_t kMaxPath = 200;
constexpr std::chrono::seconds kGarbageInterval{1};

std::string text_line(const AccessRecord& record, int64_t n_untold) {
  const HttpRequest& request = *record.request;
  const std::string more = n_untold > 0 ? fmt::format(" ({} more of that kind)", n_untold) : "";
  return fmt::format("{} {} \"{} {}\" {} {:.1f}ms {}B {}{}", log_time(), printable(request.client),
                     request.method.empty() ? "?" : printable(request.method), printable(request.path, kMaxPath),
                     record.status, record.seconds * 1000, record.n_bytes_sent, printable(request.id), more);
}

std::string json_line(const AccessRecord& record, int64_t n_untold) {
  const HttpRequest& request = *record.request;
  nlohmann::ordered_json line = {{"time", log_time()},
                                 {"client", request.client},
                                 {"method", printable(request.method)},
                                 {"path", printable(request.path, kMaxPath)},
                                 {"status", record.status},
                                 {"seconds", std::round(record.seconds * 1e6) / 1e6},
                                 {"bytes", record.n_bytes_sent},
                                 {"request_id", request.id}};
  if (n_untold > 0) line["untold"] = n_untold;
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

AccessLog::AccessLog(LogWriter& writer, AccessLogFormat format, std::string_view quiet_paths,
                     std::function<Clock::time_point()> now)
    : writer_(writer), format_(format), now_(std::move(now)) {
  for_each_element(quiet_paths, [this](std::string_view path) { quiet_paths_.emplace_back(path); });
}

void AccessLog::add(const AccessRecord& record) {
  if (format_ == AccessLogFormat::none || !record.request) return;
  if (std::find(quiet_paths_.begin(), quiet_paths_.end(), record.request->path) != quiet_paths_.end()) return;
  const bool is_garbage = record.request->method.empty() || record.request->path.empty();
  if (is_garbage && !may_tell_of_garbage()) return;
  const int64_t n_untold = is_garbage ? std::exchange(n_untold_, 0) : 0;
  writer_.write(format_ == AccessLogFormat::json ? json_line(record, n_untold) : text_line(record, n_untold));
}

bool AccessLog::may_tell_of_garbage() {
  const Clock::time_point now = now_();
  if (last_garbage_ && now - *last_garbage_ < kGarbageInterval) {
    ++n_untold_;
    return false;
  }
  last_garbage_ = now;
  return true;
}

std::string_view handler_label(const HttpRequest& request) {
  return request.route.empty() ? "other" : std::string_view(request.route);
}

std::string_view method_label(const HttpRequest& request) {
  return request.has_route ? std::string_view(request.method) : "other";
}

}  // namespace packhorse::server
