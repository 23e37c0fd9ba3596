#include "load/client.h"

#include <fmt/format.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <utility>

#include "load/events.h"

namespace packhorse::load {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr double kPauseAfterFailure = 0.1;  // a server that is gone is not asked in a busy loop

asio::steady_timer::duration duration_of(double seconds) {
  return std::chrono::duration_cast<asio::steady_timer::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

Client::Client(ClientContext& context, NextJob next, std::function<void()> on_end)
    : context_(context), next_(std::move(next)), on_end_(std::move(on_end)), socket_(context.io), timer_(context.io) {}

void Client::connect(std::function<void()> on_connected) {
  socket_.async_connect(context_.server, [this, then = std::move(on_connected)](const error_code& error) {
    if (error) {
      error_code ignored;
      socket_.close(ignored);
      return fail("connect: " + error.message());
    }
    socket_.set_option(asio::ip::tcp::no_delay(true));
    socket_.non_blocking(true);
    is_fresh_ = true;
    Results& results = context_.results;
    results.peak_connected = std::max(results.peak_connected, ++results.n_connected);
    then();
  });
}

void Client::start(double delay) {
  timer_.expires_after(duration_of(delay));
  timer_.async_wait([this](const error_code& error) {
    if (!error) take_job();
  });
}

void Client::take_job() {
  if (!job_ && !(job_ = next_())) {
    disconnect();
    return on_end_();
  }
  if (socket_.is_open()) return send();
  connect([this] { send(); });
}

void Client::send() {
  Results& results = context_.results;
  request_ = request_text(context_.options, *job_);
  reader_.reset();
  body_.clear();
  stream_error_.clear();
  gaps_.clear();
  is_done_event_seen_ = false;
  answer_ = Answer{.sent = results.now()};
  if (job_->is_probe) results.probe_sent = answer_.sent;
  last_news_ = answer_.sent;
  is_waiting_ = true;
  results.peak_waiting = std::max(results.peak_waiting, ++results.n_waiting);
  asio::async_write(socket_, asio::buffer(request_), [this](const error_code& error, size_t) {
    if (error && is_waiting_) return on_closed();
    if (!error) receive();
  });
}

void Client::receive() {
  socket_.async_wait(asio::ip::tcp::socket::wait_read, [this](const error_code& error) {
    if (!job_) return;
    if (error) return on_closed();
    read();
  });
}

/// All that is there, into a buffer that the clients share.
void Client::read() {
  for (;;) {
    error_code error;
    const size_t n = socket_.read_some(asio::buffer(context_.scratch), error);
    if (error == asio::error::would_block) return receive();
    if (error) return reader_.end_by_close() ? on_answer() : on_closed();
    last_news_ = context_.results.now();
    if (!reader_.feed({context_.scratch.data(), n}, body_)) return fail("no HTTP/1.1");
    if (reader_.status() == 200) {
      context_.results.n_comments += take_events(body_, [this](std::string_view data) { on_event(data); });
    }
    if (reader_.is_done()) return on_answer();
    if (n < context_.scratch.size()) return receive();
  }
}

void Client::on_event(std::string_view data) {
  if (data == "[DONE]") {
    is_done_event_seen_ = true;
    return;
  }
  Chunk chunk;
  try {
    chunk = read_chunk(data);
  } catch (const std::exception&) {
    stream_error_ = "damaged event";
    return;
  }
  if (chunk.is_error) stream_error_ = "error event";
  if (chunk.prompt_tokens >= 0) answer_.prompt_tokens = chunk.prompt_tokens;
  if (chunk.completion_tokens >= 0) answer_.output_tokens = chunk.completion_tokens;
  if (!chunk.has_text) return;
  Results& results = context_.results;
  if (is_waiting_) {
    answer_.first_text = last_news_;
    is_waiting_ = false;
    is_streaming_ = true;
    --results.n_waiting;
    results.peak_streaming = std::max(results.peak_streaming, ++results.n_streaming);
  } else {
    gaps_.push_back({answer_.last_text, last_news_});
  }
  answer_.last_text = last_news_;
  ++results.n_texts;
}

/// What is wrong with an answer of status 200 that came to its end; empty when nothing is.
std::string Client::verdict() const {
  if (!stream_error_.empty()) return stream_error_;
  if (!is_done_event_seen_) return "missing [DONE]";
  if (answer_.output_tokens == 0) return "no usage";
  if (answer_.output_tokens != job_->max_tokens) return "wrong number of tokens";
  return is_streaming_ ? "" : "no text";
}

void Client::on_answer() {
  Results& results = context_.results;
  if (!reader_.keeps_connection()) disconnect();
  if (reader_.status() == 503 && reader_.retry_after() >= 0) {
    ++results.n_refused;
    return retry_after(static_cast<double>(reader_.retry_after()));
  }
  if (reader_.status() != 200) return fail(fmt::format("HTTP {}", reader_.status()));
  if (const std::string wrong = verdict(); !wrong.empty()) return fail(wrong);
  answer_.end = results.now();
  if (job_->is_probe) {
    results.probe = answer_;
  } else {
    results.answers.push_back(answer_);
    results.gaps.insert(results.gaps.end(), gaps_.begin(), gaps_.end());
  }
  finish_request();
  job_.reset();
  take_job();
}

/// A kept connection may be closed just when the next request is sent; that one is sent again over a new one.
void Client::on_closed() {
  const bool is_stale = !is_fresh_ && !reader_.has_begun();
  disconnect();
  if (!is_stale) return fail("connection closed");
  retry_after(0);
}

void Client::fail(const std::string& kind) {
  ++context_.results.errors[job_ && job_->is_probe ? "probe: " + kind : kind];
  finish_request();
  disconnect();
  if (!job_) return on_end_();  // it was only to connect
  job_.reset();
  start(kPauseAfterFailure);
}

void Client::retry_after(double seconds) {
  finish_request();
  start(seconds);
}

void Client::finish_request() {
  if (std::exchange(is_waiting_, false)) --context_.results.n_waiting;
  if (std::exchange(is_streaming_, false)) --context_.results.n_streaming;
  is_fresh_ = false;
}

void Client::disconnect() {
  if (!socket_.is_open()) return;
  error_code ignored;
  socket_.close(ignored);
  --context_.results.n_connected;
}

void Client::check_time(double now) {
  if ((is_waiting_ || is_streaming_) && now - last_news_ > context_.options.timeout) fail("time limit");
}

}  // namespace packhorse::load
