#pragma once
// A client that sends whatever bytes a test wants, and a server with a few routes.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "app/server/api/errors.h"
#include "app/server/http/http_server.h"
#include "packhorse/packhorse.h"

namespace packhorse::server::testing {

using namespace std::chrono_literals;

struct Answer {
  int status = 0;  // 0 = none came
  std::map<std::string, std::string> headers;
  std::string body;
};

/// Blocking, but never longer than `patience`.
class Client {
 public:
  explicit Client(int port, int receive_buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) close();
  }
  ~Client() { close(); }
  Client(Client&& other) noexcept : fd_(std::exchange(other.fd_, -1)), input_(std::move(other.input_)) {}
  Client& operator=(Client&&) = delete;

  bool is_connected() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  /// Everything up to the end of the connection, or what came in time.
  std::string read_all() {
    while (read_some()) {
    }
    return std::exchange(input_, {});
  }
  /// The server closed, and sent nothing more.
  bool is_closed() {
    while (read_some()) {
    }
    return is_at_end_ && input_.empty();
  }
  std::string read_until(std::string_view end) {
    size_t at;
    while ((at = input_.find(end)) == std::string::npos) {
      if (!read_some()) return std::exchange(input_, {});
    }
    std::string out = input_.substr(0, at + end.size());
    input_.erase(0, out.size());
    return out;
  }
  Answer read_answer(bool is_head_request = false) {
    Answer out;
    const std::string head = read_until("\r\n\r\n");
    if (!head.ends_with("\r\n\r\n") || head.size() < 12) return out;
    out.status = std::stoi(head.substr(9, 3));
    for (size_t begin = head.find("\r\n") + 2; begin + 2 < head.size();) {
      const size_t end = head.find("\r\n", begin), colon = head.find(": ", begin);
      std::string name = head.substr(begin, colon - begin);
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
      out.headers[name] = head.substr(colon + 2, end - colon - 2);
      begin = end + 2;
    }
    if (is_head_request) return out;
    if (out.headers.contains("content-length")) {
      const size_t n = std::stoul(out.headers["content-length"]);
      while (input_.size() < n && read_some()) {
      }
      out.body = input_.substr(0, n);
      input_.erase(0, n);
    } else if (out.headers.contains("transfer-encoding")) {
      while (true) {
        const std::string size = read_until("\r\n");
        const size_t n = size.empty() ? 0 : std::stoul(size, nullptr, 16);
        const std::string data = n ? read_chunk(n) : read_until("\r\n");
        if (!n || data.size() < n) break;
        out.body += data;
      }
    }
    return out;
  }
  /// The data of the next chunk.
  std::string read_chunk() {
    const std::string size = read_until("\r\n");
    return size.empty() ? "" : read_chunk(std::stoul(size, nullptr, 16));
  }

  std::chrono::milliseconds patience = 5s;

 private:
  std::string read_chunk(size_t n) {
    while (input_.size() < n + 2 && read_some()) {
    }
    std::string data = input_.substr(0, n);
    input_.erase(0, n + 2);
    return data;
  }
  bool read_some() {
    pollfd waiting{.fd = fd_, .events = POLLIN, .revents = 0};
    if (is_at_end_ || ::poll(&waiting, 1, static_cast<int>(patience.count())) <= 0) return false;
    char bytes[65536];
    const ssize_t n = ::recv(fd_, bytes, sizeof bytes, 0);
    is_at_end_ = n <= 0;
    if (n > 0) input_.append(bytes, static_cast<size_t>(n));
    return n > 0;
  }

  int fd_;
  std::string input_;
  bool is_at_end_ = false;
};

inline HttpOptions local_options() {
  HttpOptions options;
  options.port = 0;
  return options;
}

/// Another notation than the server's.
inline Response plain_error(const std::exception_ptr& error) {
  const ErrorAnswer answer = describe_error(error);
  return {.status = answer.status, .content_type = "text/plain", .body = "plain: " + answer.message, .headers = {}};
}

/// Waits until `is_true` says so; false when it takes too long.
template <class IsTrue>
bool wait_until(IsTrue is_true, std::chrono::milliseconds patience = 5s) {
  for (const auto end = std::chrono::steady_clock::now() + patience; !is_true();) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

/// Descriptor of what the system says about the server's thread for sockets.
inline int open_socket_thread() {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (name == "http") return ::open((task.path() / "stat").c_str(), O_RDONLY);
  }
  return -1;
}

inline bool is_sleeping(int thread) {
  char line[64]{};
  return ::pread(thread, line, sizeof line - 1, 0) > 0 && std::string_view(line).find(") S ") != std::string::npos;
}

class TestServer {
 public:
  explicit TestServer(HttpOptions options = local_options()) : server(std::move(options), error_response) {
    const auto echo = [](const HttpRequestPtr& request, const ReplyPtr& reply) {
      reply->send(200, "text/plain", request->body);
    };
    const auto health = [](const HttpRequestPtr&, const ReplyPtr& reply) { reply->send(200, "text/plain", "ok"); };
    const auto parameter = [](const HttpRequestPtr& request, const ReplyPtr& reply) {
      reply->send(200, "text/plain", request->path_parameters.at(0) + "?" + request->query);
    };
    const auto keep = [this](const HttpRequestPtr& request, const ReplyPtr& reply) {
      reply->on_gone([this] { ++n_gone; });
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
      replies_.push_back(reply);
    };
    server.add_route({.method = "GET",
                      .path = "/health",
                      .handler = health,
                      .is_open = true,
                      .is_quick = true,
                      .is_closing_ok = true});
    server.add_route({.method = "POST", .path = "/echo", .handler = echo});
    server.add_route({.method = "POST", .path = "/quick", .handler = echo, .is_quick = true});
    server.add_route({.method = "GET", .path = "/items/{}", .handler = parameter, .is_quick = true});
    server.add_route({.method = "GET", .path = "/files/{...}", .handler = parameter, .is_quick = true});
    server.add_route({.method = "GET", .path = "/kept", .handler = keep, .is_quick = true});
    server.add_route({.method = "POST", .path = "/kept", .handler = keep});
    server.add_route({.method = "GET", .path = "/dropped", .handler = [](const auto&, const auto&) {}});
    server.add_route({.method = "GET", .path = "/wrong", .handler = [](const auto&, const auto&) {
                        throw HttpError(404, "no such model", "model");
                      }});
    server.add_route({.method = "POST",
                      .path = "/plain",
                      .handler =
                          [](const HttpRequestPtr& request, const ReplyPtr&) {
                            if (!request->body.empty()) throw HttpError(404, "no such model");
                          },
                      .error_format = plain_error});
    server.on_access([this](const AccessRecord& record) {
      const std::lock_guard lock(mutex_);
      records_.push_back(record);
    });
    server.start();
  }
  ~TestServer() { server.stop(); }

  Client connect() const { return Client(server.port()); }
  /// Answer to one request on a connection of its own.
  Answer ask(std::string_view request) const {
    Client client = connect();
    client.send(request);
    return client.read_answer();
  }
  bool is_healthy() const { return ask("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").status == 200; }
  /// The reply of the next request for /kept.
  ReplyPtr take_reply() {
    wait_until([&] {
      const std::lock_guard lock(mutex_);
      return !replies_.empty();
    });
    const std::lock_guard lock(mutex_);
    ReplyPtr reply = replies_.at(0);
    replies_.erase(replies_.begin());
    return reply;
  }
  std::vector<AccessRecord> records() {
    const std::lock_guard lock(mutex_);
    return records_;
  }
  bool has_record(int status) {
    return wait_until([&] {
      const std::lock_guard lock(mutex_);
      return std::any_of(records_.begin(), records_.end(), [&](const auto& record) { return record.status == status; });
    });
  }

  std::atomic<int> n_gone{0};
  HttpServer server;

 private:
  std::mutex mutex_;
  std::vector<HttpRequestPtr> requests_;
  std::vector<ReplyPtr> replies_;
  std::vector<AccessRecord> records_;
};

inline std::string post(std::string_view path, std::string_view body, std::string_view headers = "") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + std::string(headers) + "\r\n" + std::string(body);
}
inline std::string get(std::string_view path, std::string_view headers = "") {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n" + std::string(headers) + "\r\n";
}

}  // namespace packhorse::server::testing
