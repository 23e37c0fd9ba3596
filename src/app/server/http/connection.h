#pragma once
// One client: its requests are read one after another, and each is answered before the next one is looked at.

#include <memory>
#include <optional>
#include <string>

#include "app/server/http/body_budget.h"
#include "app/server/http/exchange.h"
#include "app/server/http/head_scanner.h"
#include "app/server/http/http_error.h"
#include "app/server/http/request_parser.h"
#include "app/server/http/sender.h"
#include "app/server/http/service.h"
#include "app/server/http/stream.h"

namespace packhorse::server {

/// All on the I/O thread.
class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Service> service, std::unique_ptr<Stream> stream, std::string client);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Enters itself into the service's connections.
  void start();
  /// Looks at the time limits; a few times a second.
  void check(Clock::time_point now);
  /// At once. Ends whatever is under way, and takes itself out of the service's lists.
  void close();

 private:
  enum class Phase : uint8_t {
    handshake,
    idle,       // between requests
    head,       // a request has begun
    body,       // its head is accepted
    answering,  // a handler has it
    flushing,   // the last answer is being sent
    lingering,  // it has been sent: the client may read it before the connection goes
    closed
  };

  // Input.
  void receive();
  void on_received(std::error_code error, std::string_view data);
  /// Takes `data` and reads requests as far as there is input and none is being answered.
  void read_requests(std::string_view data = {});
  bool read_step();
  bool read_head();
  bool read_body();
  void make_request(Headers headers);
  void accept_head(RequestHead head);
  std::optional<Response> early_answer(const RequestHead& head, const Match& match) const;
  void dispatch();

  // Output.
  void refuse(const Response& response);
  Response error_response(HttpError error) const;
  void send_output();
  bool keep_unread(size_t n_bytes);
  Response no_room_to_wait() const;
  void send_response(const Response& response);
  void start_stream(const Headers& headers);
  void write_events(std::string_view events);
  void append_head(int status, Headers headers);
  void finish_answer();
  void on_flushed(bool is_ok);
  void flush() { sender_.flush(shared_from_this()); }
  void close_after_flush();

  void check_body(Clock::time_point now);
  void set_active(bool is_active);
  void update_idle();
  void record(int status);

  const std::shared_ptr<Service> service_;
  const std::unique_ptr<Stream> stream_;
  const std::string client_;
  Sender sender_;

  Phase phase_ = Phase::handshake;
  Clock::time_point deadline_;  // of the phase
  bool is_receiving_ = false, is_active_ = false;
  std::list<std::shared_ptr<Connection>>::iterator place_;
  std::optional<std::list<Connection*>::iterator> idle_place_;

  // The request.
  std::string input_;
  HeadScanner scanner_;
  std::optional<RequestParser> parser_;
  std::shared_ptr<HttpRequest> request_;
  std::shared_ptr<BodyShare> body_share_;  // until a handler has the body
  const Route* route_ = nullptr;
  ErrorFormat error_format_;
  Clock::time_point arrival_;
  bool is_http_10_ = false, is_keep_alive_ = true;

  // Its answer.
  std::shared_ptr<Exchange> exchange_;
  std::optional<BodyShare> answer_share_;  // until the client has it
  int status_ = 0;                         // 0 = not begun
  int64_t n_bytes_before_ = 0;
  bool is_streaming_ = false;
  Clock::time_point last_write_;
};

}  // namespace packhorse::server
