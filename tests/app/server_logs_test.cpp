// What the server writes to standard error.
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "app/server/access_log.h"
#include "app/server/log_writer.h"
#include "app/server/stats_log.h"
#include "base/json.h"

namespace packhorse::server {
namespace {

using namespace std::chrono_literals;

/// What `write` has written to standard error when its LogWriter has ended.
template <class Write>
std::string written(Write&& write) {
  ::testing::internal::CaptureStderr();
  {
    LogWriter writer;
    write(writer);
  }
  return ::testing::internal::GetCapturedStderr();
}

AccessRecord record_of(std::string method, std::string path, int status = 200) {
  HttpRequest request;
  request.id = "id-1";
  request.client = "127.0.0.1:5";
  request.method = std::move(method);
  request.path = std::move(path);
  request.query = "token=hidden";
  return {std::make_shared<HttpRequest>(std::move(request)), status, 30, 0.25};
}

int64_t n_lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

TEST(AccessLog, one_line_for_each_answer) {
  const std::string text = written([](LogWriter& writer) {
    AccessLog log(writer, AccessLogFormat::text, "/quiet, /health");
    for (const char* path : {"/v1/models", "/quiet", "/health", "/quiet/x"}) log.add(record_of("GET", path));
    log.add({});  // without a request
    AccessLog(writer, AccessLogFormat::none).add(record_of("GET", "/none"));
  });
  EXPECT_EQ(n_lines(text), 2) << text;
  EXPECT_NE(text.find(" 127.0.0.1:5 \"GET /v1/models\" 200 250.0ms 30B id-1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\"GET /quiet/x\""), std::string::npos) << text;
}

TEST(AccessLog, lines_of_json) {
  const std::string text = written([](LogWriter& writer) {
    AccessLog(writer, AccessLogFormat::json).add(record_of("GET", "/a\x1b" + std::string(300, 'x'), 404));
  });
  const Json line = Json::parse(text);
  EXPECT_EQ(line["method"], "GET");
  EXPECT_EQ(line["status"], 404);
  EXPECT_EQ(line["seconds"], 0.25);
  EXPECT_EQ(line["bytes"], 30);
  EXPECT_EQ(line["request_id"], "id-1");
  EXPECT_LT(line["path"].get<std::string>().size(), 210u);
  EXPECT_EQ(line.count("untold"), 0u);
  EXPECT_EQ(text.find("hidden"), std::string::npos);
}

TEST(AccessLog, lines_about_garbage_are_few) {
  for (const AccessLogFormat format : {AccessLogFormat::text, AccessLogFormat::json}) {
    const std::string text = written([&](LogWriter& writer) {
      AccessLog::Clock::time_point now{};
      AccessLog log(writer, format, {}, [&] { return now; });
      for (int i = 0; i < 50; ++i) log.add(record_of("", "", 400));
      now += 999ms;
      log.add(record_of("", "", 400));
      log.add(record_of("GET", "/a"));  // others are told of as always
      now += 1ms;
      log.add(record_of("", "", 400));
      log.add(record_of("", "", 400));
      now += 1s;
      log.add(record_of("", "", 400));
    });
    EXPECT_EQ(n_lines(text), 4) << text;
    const bool is_json = format == AccessLogFormat::json;
    const size_t first = text.find(is_json ? "\"untold\":50}\n" : " id-1 (50 more of that kind)\n");
    EXPECT_NE(first, std::string::npos) << text;
    EXPECT_EQ(n_lines(text.substr(0, first)), 2) << text;
    EXPECT_TRUE(text.ends_with(is_json ? "\"untold\":1}\n" : " id-1 (1 more of that kind)\n")) << text;
  }
}

/// Standard error is a pipe while this lives.
class StandardErrorPipe {
 public:
  StandardErrorPipe() : before_(::dup(STDERR_FILENO)) {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("no pipe");
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[1]);
    out_ = ends[0];
  }
  ~StandardErrorPipe() {
    ::dup2(before_, STDERR_FILENO);
    ::close(before_);
    ::close(out_);
  }
  /// Without its end; "" when none comes.
  std::string read_line() {
    while (input_.find('\n') == std::string::npos) {
      pollfd waiting{.fd = out_, .events = POLLIN, .revents = 0};
      char bytes[65536];
      const ssize_t n = ::poll(&waiting, 1, 10'000) > 0 ? ::read(out_, bytes, sizeof bytes) : 0;
      if (n <= 0) return "";
      input_.append(bytes, static_cast<size_t>(n));
    }
    std::string line = input_.substr(0, input_.find('\n'));
    input_.erase(0, line.size() + 1);
    return line;
  }

 private:
  int before_, out_;
  std::string input_;
};

TEST(LogWriter, tells_how_many_lines_were_lost) {
  constexpr int64_t kLines = 4000;
  StandardErrorPipe pipe;
  LogWriter writer;
  for (int64_t i = 0; i < kLines; ++i) writer.write(std::string(1023, 'x'));  // four buffers, and nobody reads
  int64_t n_told = 0, n_lost = 0;
  while (n_told + n_lost < kLines) {
    const std::string line = pipe.read_line();
    if (line.ends_with(" log lines were lost")) {
      n_lost += std::stoll(line);
    } else {
      ASSERT_EQ(line, std::string(1023, 'x'));
      ++n_told;
    }
  }
  EXPECT_GT(n_lost, 0);
  EXPECT_EQ(n_told + n_lost, kLines);
}

TEST(StatsLog, tells_what_happened_and_once_that_nothing_does) {
  StatsLog log;
  EngineStats stats;
  stats.n_blocks = stats.n_free_blocks = 100;
  EXPECT_EQ(log.line(stats, 10), "");
  stats.n_running = 2;
  stats.n_waiting = 1;
  stats.n_free_blocks = 75;
  stats.n_prompt_tokens = 200;
  stats.n_cached_tokens = 50;
  stats.n_generated_tokens = 30;
  stats.n_steps = 12;
  EXPECT_EQ(
      log.line(stats, 10),
      "Avg prompt throughput: 20.0 tokens/s, Avg generation throughput: 3.0 tokens/s, Running: 2 reqs, Waiting: 1 "
      "reqs, KV cache usage: 25.0%, Prefix cache hit rate: 25.0%");
  stats.n_running = stats.n_waiting = 0;
  stats.n_generated_tokens = 35;
  stats.n_steps = 13;  // it has ended since
  EXPECT_NE(log.line(stats, 10).find("generation throughput: 0.5 tokens/s, Running: 0 reqs"), std::string::npos);
  EXPECT_NE(log.line(stats, 10).find("generation throughput: 0.0 tokens/s"), std::string::npos);
  EXPECT_EQ(log.line(stats, 10), "");
  EXPECT_EQ(log.line(stats, 10), "");
}

}  // namespace
}  // namespace packhorse::server
