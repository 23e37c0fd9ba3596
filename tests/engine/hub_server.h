#pragma once
// A hub within the test: one repo, served over loopback, whose answers a test may replace.

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/digest.h"

namespace packhorse::testing {

struct HttpAsked {
  std::string method, target, header;
};

/// Answers each request with the text that `answer` makes of it, then closes the connection; several at a time.
class HttpServer {
 public:
  using Answer = std::function<std::string(const HttpAsked&)>;

  explicit HttpServer(Answer answer) : answer_(std::move(answer)), listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 16) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no server on loopback");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~HttpServer() {
    is_ending_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    for (std::thread& connection : connections_) connection.join();
    ::close(listener_);
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }
  std::vector<HttpAsked> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  /// Number of requests whose "METHOD target" begins so.
  size_t n_asked(const std::string& begin) const {
    size_t n = 0;
    for (const HttpAsked& request : asked()) n += (request.method + " " + request.target).starts_with(begin);
    return n;
  }

 private:
  void serve() {
    while (!is_ending_) {
      const int connection = ::accept(listener_, nullptr, nullptr);
      if (connection >= 0) connections_.emplace_back([this, connection] { serve_one(connection); });
    }
  }
  void serve_one(int connection) {
    std::string text;
    char buffer[4096];
    while (text.find("\r\n\r\n") == text.npos) {
      const ssize_t n = ::recv(connection, buffer, sizeof(buffer), 0);
      if (n <= 0) break;
      text.append(buffer, static_cast<size_t>(n));
    }
    if (text.find("\r\n\r\n") != text.npos) answer(connection, text);
    ::close(connection);
  }
  void answer(int connection, const std::string& text) {
    const size_t space = text.find(' ');
    HttpAsked request{text.substr(0, space), text.substr(space + 1, text.find(' ', space + 1) - space - 1), text};
    {
      const std::lock_guard lock(mutex_);
      asked_.push_back(request);
    }
    const std::string reply = answer_(request);
    for (size_t sent = 0; sent < reply.size();) {
      const ssize_t n = ::send(connection, reply.data() + sent, reply.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return;
      sent += static_cast<size_t>(n);
    }
  }

  Answer answer_;
  int listener_;
  uint16_t port_ = 0;
  std::atomic<bool> is_ending_ = false;
  mutable std::mutex mutex_;
  std::vector<HttpAsked> asked_;
  std::vector<std::thread> connections_;
  std::thread thread_;
};

inline std::string http_reply(std::string_view status, const std::string& headers, std::string_view body = "") {
  return fmt::format("HTTP/1.1 {}\r\n{}Content-Length: {}\r\n\r\n{}", status, headers, body.size(), body);
}

/// The repo "org/name" at one commit.
class HubServer {
 public:
  static constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

  explicit HubServer(std::map<std::string, std::string> files)
      : files_(std::move(files)), server_([this](const HttpAsked& request) { return answer(request); }) {}

  const HttpServer& http() const { return server_; }
  std::string url() const { return server_.url(); }
  const std::map<std::string, std::string>& files() const { return files_; }

  /// The next answers to "METHOD target" of the same repo; after them the usual ones.
  void script(const std::string& method, const std::string& target, std::deque<std::string> answers) {
    const std::lock_guard lock(mutex_);
    scripted_[method + " " + target] = std::move(answers);
  }
  /// Each file takes so long.
  void slow_down(std::chrono::milliseconds delay) { delay_ = delay; }

  static std::string file_target(const std::string& path) {
    return fmt::format("/org/name/resolve/{}/{}", kCommit, path);
  }
  static std::string list_target() { return "/api/models/org/name/revision/main?blobs=true"; }

  static bool is_large(const std::string& path) { return path.ends_with(".safetensors") || path.ends_with(".gguf"); }
  static std::string digest(DigestKind kind, std::string_view text) {
    Digest digest(kind);
    digest.update(std::as_bytes(std::span(text)));
    return digest.hex();
  }
  static std::string blob_id(const std::string& content) {
    return digest(DigestKind::sha1, fmt::format("blob {}", content.size()) + '\0' + content);
  }
  std::string etag(const std::string& path) const {
    return is_large(path) ? digest(DigestKind::sha256, files_.at(path)) : blob_id(files_.at(path));
  }

 private:
  std::string answer(const HttpAsked& request) {
    {
      const std::lock_guard lock(mutex_);
      auto& scripted = scripted_[request.method + " " + request.target];
      if (!scripted.empty()) {
        std::string text = scripted.front();
        scripted.pop_front();
        return text;
      }
    }
    if (request.target == list_target()) return http_reply("200 OK", "", listing());
    for (const auto& [path, content] : files_) {
      if (request.target == file_target(path)) return file_answer(request, path, content);
    }
    return http_reply("404 Not Found", "");
  }
  std::string listing() const {
    nlohmann::json siblings = nlohmann::json::array();
    for (const auto& [path, content] : files_) {
      nlohmann::json file = {{"rfilename", path}, {"size", content.size()}, {"blobId", blob_id(content)}};
      if (is_large(path)) file["lfs"] = {{"sha256", etag(path)}, {"size", content.size()}, {"pointerSize", 134}};
      siblings.push_back(file);
    }
    return nlohmann::json({{"id", "org/name"}, {"sha", kCommit}, {"siblings", siblings}}).dump();
  }
  std::string file_answer(const HttpAsked& request, const std::string& path, const std::string& content) const {
    const std::string about = fmt::format("ETag: \"{}\"\r\nX-Repo-Commit: {}\r\n", etag(path), kCommit);
    if (request.method == "HEAD") {
      return fmt::format("HTTP/1.1 200 OK\r\n{}Content-Length: {}\r\n\r\n", about, content.size());
    }
    std::this_thread::sleep_for(delay_);
    const size_t range = request.header.find("Range: bytes=");
    if (range == std::string::npos) return http_reply("200 OK", about, content);
    const size_t offset = std::stoul(request.header.substr(range + 13));
    return http_reply(
        "206 Partial Content",
        fmt::format("{}Content-Range: bytes {}-{}/{}\r\n", about, offset, content.size() - 1, content.size()),
        std::string_view(content).substr(offset));
  }

  std::map<std::string, std::string> files_;
  std::mutex mutex_;
  std::map<std::string, std::deque<std::string>> scripted_;
  std::chrono::milliseconds delay_{0};
  HttpServer server_;
};

}  // namespace packhorse::testing
