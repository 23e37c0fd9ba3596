#pragma once
// One client: a connection that is kept, and one request at a time on it.

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "load/options.h"
#include "load/prompts.h"
#include "load/response_reader.h"
#include "load/results.h"

namespace packhorse::load {

/// What the clients of a run share.
struct ClientContext {
  boost::asio::io_context& io;
  const Options& options;
  Results& results;
  boost::asio::ip::tcp::endpoint server;
  std::vector<char> scratch = std::vector<char>(256 << 10);
};

class Client {
 public:
  using NextJob = std::function<std::optional<Job>()>;

  /// Asks `next` for work until there is none, then calls `on_end`.
  Client(ClientContext& context, NextJob next, std::function<void()> on_end);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void connect(std::function<void()> on_connected);
  bool is_connected() const { return socket_.is_open(); }
  /// Connects if need be, and works after `delay` seconds.
  void start(double delay);
  /// Gives up a request whose answer did not go on for the time limit.
  void check_time(double now);

 private:
  void take_job();
  void send();
  void receive();
  void read();
  void on_event(std::string_view data);
  void on_answer();
  void on_closed();
  void fail(const std::string& kind);
  void retry_after(double seconds);
  void finish_request();
  void disconnect();
  std::string verdict() const;

  ClientContext& context_;
  NextJob next_;
  std::function<void()> on_end_;
  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer timer_;
  ResponseReader reader_;
  std::optional<Job> job_;
  std::string request_, body_, stream_error_;
  Answer answer_;
  std::vector<Gap> gaps_;
  double last_news_ = 0;
  bool is_fresh_ = true;  // no request went over this connection before
  bool is_waiting_ = false, is_streaming_ = false, is_done_event_seen_ = false;
};

}  // namespace packhorse::load
