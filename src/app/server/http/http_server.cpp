#include "app/server/http/http_server.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <optional>
#include <thread>
#include <utility>

#include "app/server/http/asio_stream.h"
#include "app/server/http/connection.h"
#include "packhorse/packhorse.h"

namespace packhorse::server {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::milliseconds;

constexpr milliseconds kAcceptPause{100};
constexpr int kSendBuffer = 256 << 10;  // the system's, of one connection
constexpr size_t kScratch = 64 << 10;

/// How often time limits are looked at: rarely, yet often enough for the shortest one.
milliseconds sweep_interval(const HttpOptions& options) {
  milliseconds shortest{1000};
  for (const milliseconds limit : {options.limits.header_timeout, options.limits.body_timeout,
                                   options.limits.send_timeout, options.limits.idle_timeout, options.sse_keep_alive}) {
    if (limit.count() > 0) shortest = std::min(shortest, limit);
  }
  return std::max(shortest / 4, milliseconds(5));
}

/// As process monitors show it.
int name_thread(const char* name) { return pthread_setname_np(pthread_self(), name); }

bool is_exhausted(const error_code& error) {
  return error == asio::error::no_descriptors || error == asio::error::no_buffer_space ||
         error == asio::error::no_memory || error == boost::system::errc::too_many_files_open_in_system;
}

}  // namespace

struct HttpServer::Impl final : Service, std::enable_shared_from_this<Impl> {
  Impl(HttpOptions given, ErrorFormat errors)
      : Service(std::move(given), errors),
        tls(make_tls_context(options)),
        acceptor(bind_acceptor(io, options)),
        port(bound_port(acceptor)),
        workers(static_cast<size_t>(std::max(options.n_workers, 1))) {}

  void post(std::function<void()> task) override { asio::post(io, std::move(task)); }
  void work(std::function<void()> task) override {
    asio::post(workers, [task = std::move(task)] {
      [[maybe_unused]] static thread_local const int is_named = name_thread("http-worker");
      task();
    });
  }
  void make_room() override { accept(); }

  bool is_full() const { return n_connections >= options.limits.max_connections; }

  /// Waits for a client, and accepts it once there is room: the system keeps the others waiting.
  void accept() {
    if (is_accepting || is_pausing || is_stopped || (is_full() && idle.empty())) return;
    is_accepting = true;
    acceptor.async_wait(Acceptor::wait_read, [this](error_code error) {
      is_accepting = false;
      if (is_stopped) return;
      if (is_full() && !idle.empty()) idle.front()->close();
      if (is_full()) return;
      Socket socket(io);
      if (!error) acceptor.accept(socket, error);
      if (is_exhausted(error)) return pause();
      if (!error) admit(std::move(socket));
      accept();
    });
  }

  void admit(Socket socket) {
    error_code ignored;
    if (options.uds.empty()) socket.set_option(asio::ip::tcp::no_delay(true), ignored);
    socket.set_option(Socket::send_buffer_size(kSendBuffer), ignored);
    std::string client = peer_name(socket);
    auto stream = tls ? make_tls_stream(std::move(socket), *tls) : make_plain_stream(std::move(socket), scratch);
    std::make_shared<Connection>(shared_from_this(), std::move(stream), std::move(client))->start();
    if (!is_sweeping) sweep_later();
  }

  /// Descriptors or memory are used up: an idle client makes room, and the others wait a moment.
  void pause() {
    is_pausing = true;
    if (!idle.empty()) idle.front()->close();
    pause_timer.expires_after(kAcceptPause);
    pause_timer.async_wait([this](const error_code&) {
      is_pausing = false;
      accept();
    });
  }

  void sweep_later() {
    is_sweeping = true;
    sweep_timer.expires_after(interval);
    sweep_timer.async_wait([this](const error_code& error) {
      is_sweeping = false;
      if (error || is_stopped) return;
      const Clock::time_point now = Clock::now();
      for (auto next = connections.begin(); next != connections.end();) {
        const std::shared_ptr<Connection> connection = *next++;
        try {
          connection->check(now);
        } catch (...) {  // out of memory: the others' limits hold all the same
          connection->close();
        }
      }
      if (!connections.empty() && !is_sweeping) sweep_later();
    });
  }

  /// What a callback throws ends what it was about, and nothing else.
  void run() {
    for (;;) {
      try {
        io.run();
        return;
      } catch (...) {
        continue;
      }
    }
  }

  void shut() {
    is_stopped = true;
    error_code ignored;
    acceptor.close(ignored);
    pause_timer.cancel();
    sweep_timer.cancel();
    while (!connections.empty()) connections.front()->close();
  }

  asio::io_context io{1};
  std::unique_ptr<asio::ssl::context> tls;
  Acceptor acceptor;
  int port;
  asio::thread_pool workers;
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> guard;
  asio::steady_timer sweep_timer{io}, pause_timer{io};
  const milliseconds interval = sweep_interval(options);
  std::vector<char> scratch = std::vector<char>(kScratch);
  std::thread thread;
  bool is_accepting = false, is_pausing = false, is_sweeping = false, is_stopped = false;
  bool is_ended = false;  // the caller's
};

HttpServer::HttpServer(HttpOptions options, ErrorFormat error_format)
    : impl_(std::make_shared<Impl>(std::move(options), error_format)) {}
HttpServer::~HttpServer() { stop(); }

int HttpServer::port() const { return impl_->port; }

std::string HttpServer::url() const {
  HttpOptions shown = impl_->options;
  if (!shown.uds.empty()) return "unix:" + shown.uds;
  shown.port = impl_->port;
  if (shown.host.empty() || shown.host == "0.0.0.0" || shown.host == "::") shown.host = "127.0.0.1";
  return (impl_->tls ? "https://" : "http://") + address_name(shown);
}

void HttpServer::add_route(Route route) { impl_->router.add(std::move(route)); }
void HttpServer::on_access(std::function<void(const AccessRecord&)> log) { impl_->log = std::move(log); }

void HttpServer::start() {
  error_code error;
  impl_->acceptor.non_blocking(true, error);
  if (!error) impl_->acceptor.listen(Acceptor::max_listen_connections, error);
  if (error) {
    throw Error(ErrorKind::io, "cannot bind " + address_name(impl_->options) + ": " + error.message());
  }
  impl_->guard.emplace(impl_->io.get_executor());
  impl_->accept();
  impl_->thread = std::thread([impl = impl_.get()] {
    name_thread("http");
    impl->run();
  });
}

void HttpServer::begin_drain() { impl_->is_draining = true; }
int64_t HttpServer::num_active() const { return impl_->n_active; }
int64_t HttpServer::num_connections() const { return impl_->n_connections; }
int64_t HttpServer::num_body_bytes() const { return impl_->bodies->n_bytes(); }
int64_t HttpServer::num_unread_bytes() const { return impl_->unread->n_bytes(); }

void HttpServer::stop() {
  if (std::exchange(impl_->is_ended, true)) return;
  impl_->post([impl = impl_.get()] { impl->shut(); });
  impl_->guard.reset();
  impl_->workers.stop();
  impl_->workers.join();
  if (impl_->thread.joinable()) {
    impl_->thread.join();
  } else {
    impl_->run();  // never started: the task above is all there is
  }
  if (!impl_->options.uds.empty()) ::unlink(impl_->options.uds.c_str());
}

}  // namespace packhorse::server
