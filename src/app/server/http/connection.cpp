#include "app/server/http/connection.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>

#include "app/server/http/gate.h"
#include "app/server/http/http_error.h"

namespace packhorse::server {
namespace {

constexpr int64_t kMaxUnsent = 256 << 10;  // further requests wait for a client that does not read its answers
constexpr std::chrono::seconds kLinger{2};
constexpr size_t kMaxRequestId = 128;
constexpr size_t kLargeBody = 1 << 20;

bool is_request_id(std::string_view id) {
  return !id.empty() && id.size() <= kMaxRequestId &&
         std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c <= '~'; });
}

}  // namespace

Connection::Connection(std::shared_ptr<Service> service, std::unique_ptr<Stream> stream, std::string client)
    : service_(std::move(service)),
      stream_(std::move(stream)),
      client_(std::move(client)),
      sender_(*stream_, service_->options.limits.send_timeout, [this](bool is_ok) { on_flushed(is_ok); }),
      error_format_(service_->error_format) {}

void Connection::start() {
  place_ = service_->connections.insert(service_->connections.end(), shared_from_this());
  ++service_->n_connections;
  deadline_ = Clock::now() + service_->options.limits.header_timeout;
  stream_->handshake([self = shared_from_this()](std::error_code error) {
    if (self->phase_ == Phase::closed) return;
    if (error) return self->close();
    self->phase_ = Phase::idle;
    self->update_idle();
    self->receive();
  });
}

void Connection::close() {
  if (phase_ == Phase::closed) return;
  const std::shared_ptr<Connection> self = std::move(*place_);
  phase_ = Phase::closed;
  update_idle();
  stream_->close();
  service_->connections.erase(place_);
  --service_->n_connections;
  if (const std::shared_ptr<Exchange> exchange = std::move(exchange_)) {
    exchange->leave();
    record(499);
  }
  set_active(false);
  service_->make_room();
}

// ---- input

void Connection::receive() {
  const bool is_full = input_.size() >= static_cast<size_t>(service_->options.limits.max_header_bytes);
  const bool has_to_wait = phase_ == Phase::answering || phase_ == Phase::idle;  // for answers to be written or read
  if (is_receiving_ || phase_ == Phase::closed || (is_full && has_to_wait)) return;
  is_receiving_ = true;
  stream_->receive([self = shared_from_this()](std::error_code error, std::string_view data) {
    self->is_receiving_ = false;
    self->on_received(error, data);
  });
}

void Connection::on_received(std::error_code error, std::string_view data) {
  if (phase_ == Phase::closed) return;
  if (error) {
    if (phase_ != Phase::flushing) close();  // the last answer may still be read
    return;
  }
  if (phase_ != Phase::flushing && phase_ != Phase::lingering) {
    read_requests(data);
  }
  receive();
}

void Connection::read_requests(std::string_view data) {
  try {
    input_ += data;
    while (read_step()) {
    }
  } catch (...) {
    refuse(error_format_(std::current_exception()));
  }
  update_idle();
}

bool Connection::read_step() {
  switch (phase_) {
    case Phase::idle:
      if (input_.empty() || sender_.num_unsent() > kMaxUnsent) return false;
      phase_ = Phase::head;
      scanner_ = {};
      arrival_ = Clock::now();
      deadline_ = arrival_ + service_->options.limits.header_timeout;
      return true;
    case Phase::head:
      return read_head();
    case Phase::body:
      return read_body();
    default:
      return false;
  }
}

bool Connection::read_head() {
  const std::optional<size_t> n_bytes = scanner_.scan(input_);
  if (n_bytes.value_or(input_.size()) > static_cast<size_t>(service_->options.limits.max_header_bytes)) {
    if (!scanner_.has_request_line()) throw HttpError(414, "the request line is too long (--max-header-kb)");
    throw HttpError(431, "the headers are too long (--max-header-kb)");
  }
  if (!n_bytes) return false;
  parser_.emplace(service_->options.limits.max_body_bytes);
  RequestHead head = parser_->parse_head(std::string_view(input_).substr(0, *n_bytes));
  input_.erase(0, *n_bytes);
  accept_head(std::move(head));
  return true;
}

void Connection::make_request(Headers headers) {
  request_ = std::make_shared<HttpRequest>();
  request_->client = client_;
  request_->headers = std::move(headers);
  request_->id = request_->header("X-Request-Id");
  if (is_request_id(request_->id)) return;
  const uint64_t high = service_->random(), low = service_->random();
  request_->id = fmt::format("{:016x}{:016x}", high, low);
}

void Connection::accept_head(RequestHead head) {
  make_request(std::move(head.headers));
  request_->method = std::move(head.method);
  is_http_10_ = head.is_http_10;
  is_keep_alive_ = head.is_keep_alive;
  Target target = parse_target(head.target, service_->options.root_path);
  request_->path = std::move(target.path);
  request_->query = std::move(target.query);
  request_->is_bare_root = target.is_bare_root;

  Match match = service_->router.find(request_->method, request_->path);
  request_->route = std::move(match.pattern);
  request_->has_route = match.route != nullptr;
  if (match.error_format) error_format_ = match.error_format;
  set_active(true);  // before the gate looks whether the server drains: who drains sees this request, or it sees that
  if (const std::optional<Response> early = early_answer(head, match)) {
    if (head.has_body) return refuse(*early);  // where the next request begins is not known
    send_response(*early);
    return finish_answer();
  }
  route_ = match.route;
  request_->path_parameters = std::move(match.parameters);
  if (!head.has_body) return dispatch();
  phase_ = Phase::body;
  body_share_ = std::make_shared<BodyShare>(service_->bodies);
  deadline_ = Clock::now() + service_->options.limits.body_timeout;
  if (head.expects_continue) {
    sender_.buffer() += "HTTP/1.1 100 Continue\r\n\r\n";
    flush();
  }
}

std::optional<Response> Connection::early_answer(const RequestHead& head, const Match& match) const {
  try {
    return answer_early(*service_, *request_, head, match);
  } catch (...) {
    return error_format_(std::current_exception());
  }
}

bool Connection::read_body() {
  const bool is_complete = parser_->parse_body(input_, request_->body);
  require_body_size(*service_, *route_, request_->body.size());
  if (!body_share_->grow_to(request_->body.size())) throw no_room_for_body();
  if (is_complete) dispatch();
  return is_complete;
}

void Connection::dispatch() {
  parser_.reset();
  phase_ = Phase::answering;
  exchange_ = std::make_shared<Exchange>(
      [service = service_, self = shared_from_this()] { service->post([self] { self->send_output(); }); });
  auto answer = [handler = &route_->handler, request = request_, share = std::move(body_share_), exchange = exchange_,
                 reply = Exchange::make_reply(exchange_), error_format = error_format_] {
    if (exchange->is_left()) return;
    try {
      (*handler)(request, reply);
    } catch (...) {
      send(*reply, error_format(std::current_exception()));
    }
    if (!share) return;
    const bool is_large = request->body.size() > kLargeBody;
    std::string().swap(request->body);  // answers take longer than bodies are needed
    share->give_back();
    if (is_large) ::malloc_trim(0);  // what parsing it took goes back at once
  };
  if (route_->is_quick) {
    answer();
  } else {
    service_->work(std::move(answer));
  }
}

// ---- output

void Connection::refuse(const Response& response) {
  if (!request_) make_request({});
  is_keep_alive_ = false;
  input_.clear();
  send_response(response);
  finish_answer();
}

Response Connection::error_response(HttpError error) const {
  return error_format_(std::make_exception_ptr(std::move(error)));
}

void Connection::send_output() {
  if (!exchange_) return;
  Exchange::Output output = exchange_->take();
  bool is_done = output.response || output.is_ended || output.is_dropped;
  if (output.response) send_response(keep_unread(output.response->body.size()) ? *output.response : no_room_to_wait());
  if (output.stream_headers) start_stream(*output.stream_headers);
  if (!output.events.empty()) {
    if (sender_.num_unsent() > service_->options.limits.max_send_buffer_bytes) return close();
    write_events(output.events);
  }
  if (output.is_dropped && !is_streaming_) send_response(error_response({500, "internal error"}));
  if (output.is_dropped && is_streaming_) is_keep_alive_ = false;  // without the last chunk: the client sees a cut
  if (output.is_ended && !is_http_10_ && request_->method != "HEAD") sender_.buffer() += kLastChunk;
  flush();
  if (!is_done) return;
  finish_answer();
  read_requests();
  receive();
}

/// Whether there is room for an answer of that size until the client has read it.
bool Connection::keep_unread(size_t n_bytes) {
  answer_share_.emplace(service_->unread);
  if (answer_share_->grow_to(n_bytes)) return true;
  answer_share_.reset();
  return false;
}

Response Connection::no_room_to_wait() const {
  return error_response({503,
                         "too many large answers wait for their clients (--max-bodies-mb); try again later",
                         {},
                         {{"Retry-After", "1"}}});
}

void Connection::append_head(int status, Headers headers) {
  status_ = status;
  n_bytes_before_ = sender_.num_bytes();
  if (service_->is_draining) is_keep_alive_ = false;
  Headers common = service_->cors.headers(*request_);
  headers.insert(headers.end(), std::make_move_iterator(common.begin()), std::make_move_iterator(common.end()));
  if (service_->options.request_id_headers) headers.emplace_back("X-Request-Id", request_->id);
  if (!is_keep_alive_) headers.emplace_back("Connection", "close");
  if (is_keep_alive_ && is_http_10_) headers.emplace_back("Connection", "keep-alive");
  sender_.buffer() += response_head(status, headers);
}

void Connection::send_response(const Response& response) {
  Headers headers = response.headers;
  if (!response.content_type.empty()) headers.emplace_back("Content-Type", response.content_type);
  const bool may_have_body = response.status != 204 && response.status != 304;
  if (may_have_body) headers.emplace_back("Content-Length", std::to_string(response.body.size()));
  append_head(response.status, std::move(headers));
  if (may_have_body && request_->method != "HEAD") sender_.buffer() += response.body;
}

void Connection::start_stream(const Headers& extra) {
  Headers headers = {
      {"Content-Type", "text/event-stream; charset=utf-8"}, {"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
  headers.insert(headers.end(), extra.begin(), extra.end());
  if (is_http_10_) {
    is_keep_alive_ = false;  // the end of the connection is the end of the stream
  } else {
    headers.emplace_back("Transfer-Encoding", "chunked");
  }
  append_head(200, std::move(headers));
  is_streaming_ = true;
  last_write_ = Clock::now();
}

void Connection::write_events(std::string_view events) {
  if (request_->method == "HEAD") return;
  last_write_ = Clock::now();
  if (is_http_10_) {
    sender_.buffer() += events;
  } else {
    append_chunk(sender_.buffer(), events);
  }
}

void Connection::finish_answer() {
  if (const std::shared_ptr<Exchange> exchange = std::move(exchange_)) exchange->complete();
  record(status_);
  request_.reset();
  error_format_ = service_->error_format;
  body_share_.reset();
  parser_.reset();
  status_ = 0;
  is_streaming_ = false;
  flush();
  if (!is_keep_alive_) return close_after_flush();
  phase_ = Phase::idle;
  deadline_ = Clock::now() + service_->options.limits.idle_timeout;
  if (sender_.is_idle()) set_active(false);
}

void Connection::close_after_flush() {
  phase_ = Phase::flushing;
  std::string().swap(input_);
  if (sender_.is_idle()) on_flushed(true);
}

void Connection::on_flushed(bool is_ok) {
  if (phase_ == Phase::closed) return;
  if (!is_ok) return close();
  answer_share_.reset();
  if (phase_ != Phase::body && phase_ != Phase::answering) set_active(false);
  if (phase_ == Phase::flushing) {
    phase_ = Phase::lingering;
    deadline_ = Clock::now() + kLinger;
    stream_->end_sending([self = shared_from_this()] {});
    receive();
  } else if (phase_ == Phase::idle) {
    read_requests();
    receive();
  }
}

// ---- upkeep

void Connection::check(Clock::time_point now) {
  switch (phase_) {
    case Phase::handshake:
    case Phase::lingering:
      if (now >= deadline_) close();
      return;
    case Phase::idle:
      if (!sender_.is_idle() ? sender_.is_stalled(now) : now >= deadline_) close();
      return;
    case Phase::head:
      if (now >= deadline_) refuse(error_response({408, "the head of the request took too long (--header-timeout)"}));
      return;
    case Phase::body:
      return check_body(now);
    case Phase::answering:
      if (exchange_ && exchange_->is_untold()) return send_output();
      if (is_streaming_ && sender_.is_stalled(now)) return close();
      if (is_streaming_ && service_->options.sse_keep_alive.count() > 0 &&
          now - last_write_ >= service_->options.sse_keep_alive && sender_.is_idle()) {
        write_events(": keep-alive\n\n");
        flush();
      }
      return;
    case Phase::flushing:
      if (sender_.is_stalled(now)) close();
      return;
    case Phase::closed:
      return;
  }
}

void Connection::check_body(Clock::time_point now) {
  constexpr double kMinBytesPerSecond = 1024;  // after a quarter of the time, to let slow clients begin
  const std::chrono::milliseconds limit = service_->options.limits.body_timeout;
  const std::chrono::duration<double> elapsed = now - (deadline_ - limit);
  const bool is_slow =
      elapsed > limit / 4 && static_cast<double>(request_->body.size()) < elapsed.count() * kMinBytesPerSecond;
  if (now < deadline_ && !is_slow) return;
  refuse(error_response({408, "the body of the request took too long (--body-timeout)"}));
}

void Connection::set_active(bool is_active) {
  if (is_active == is_active_) return;
  is_active_ = is_active;
  service_->n_active += is_active ? 1 : -1;
}

void Connection::update_idle() {
  const bool is_idle = phase_ == Phase::idle && input_.empty() && sender_.is_idle();
  if (is_idle == idle_place_.has_value()) return;
  if (!is_idle) {
    service_->idle.erase(*idle_place_);
    idle_place_.reset();
    return;
  }
  idle_place_ = service_->idle.insert(service_->idle.end(), this);
  deadline_ = Clock::now() + service_->options.limits.idle_timeout;
  service_->make_room();
}

void Connection::record(int status) {
  if (!service_->log) return;
  const std::chrono::duration<double> elapsed = Clock::now() - arrival_;
  const int64_t n_bytes = status_ ? sender_.num_bytes() - n_bytes_before_ : 0;
  service_->log({.request = request_, .status = status, .n_bytes_sent = n_bytes, .seconds = elapsed.count()});
}

}  // namespace packhorse::server
