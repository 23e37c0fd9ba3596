#include "load/run.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <utility>

#include "load/client.h"
#include "load/process.h"

namespace packhorse::load {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::milliseconds kSampleInterval{500};

class Runner {
 public:
  explicit Runner(const Options& options)
      : options_(options), context_{.io = io_, .options = options_, .results = results_, .server = {}}, timer_(io_) {
    context_.server = *asio::ip::tcp::resolver(io_).resolve(options.host, options.port).begin();
    const auto on_end = [this] {
      if (--n_running_ == 0) timer_.cancel();
    };
    for (int64_t i = 0; i < options.n_clients; ++i) {
      clients_.push_back(std::make_unique<Client>(
          context_, [this] { return next_job(); }, on_end));
    }
    if (options.probe_after > 0) {
      probe_ = std::make_unique<Client>(
          context_, [this] { return probe_job(); }, on_end);
    }
    n_running_ = options.n_clients + (probe_ ? 1 : 0);
  }

  Results run() {
    results_.start = std::chrono::steady_clock::now();
    for (size_t i = 0; i < clients_.size(); ++i) {
      if (options_.connect_first) {
        clients_[i]->connect([] {});
      } else {
        clients_[i]->start(options_.stagger * static_cast<double>(i) / static_cast<double>(clients_.size()));
      }
    }
    if (probe_) probe_->start(options_.probe_after);
    is_waiting_for_connections_ = options_.connect_first;
    sample_later();
    io_.run();
    sample();
    results_.duration = results_.now();
    return std::move(results_);
  }

 private:
  std::optional<Job> next_job() {
    const bool is_over = options_.n_requests > 0 ? n_jobs_ >= options_.n_requests : results_.now() >= options_.seconds;
    if (is_over) return std::nullopt;
    return Job{.number = n_jobs_++, .prompt_tokens = options_.prompt_tokens, .max_tokens = options_.max_tokens};
  }

  std::optional<Job> probe_job() {
    if (std::exchange(was_probed_, true)) return std::nullopt;
    return Job{
        .prompt_tokens = options_.probe_prompt_tokens, .max_tokens = options_.probe_max_tokens, .is_probe = true};
  }

  void sample() {
    results_.timeline.push_back({.time = results_.now(),
                                 .n_connected = results_.n_connected,
                                 .n_waiting = results_.n_waiting,
                                 .n_streaming = results_.n_streaming,
                                 .n_texts = std::exchange(results_.n_texts, 0),
                                 .server_rss = options_.server_pid > 0 ? resident_bytes(options_.server_pid) : 0});
  }

  void sample_later() {
    timer_.expires_after(kSampleInterval);
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (error || n_running_ == 0) return;
      sample();
      for (const auto& client : clients_) client->check_time(results_.now());
      if (probe_) probe_->check_time(results_.now());
      start_when_all_connected();
      sample_later();
    });
  }

  void start_when_all_connected() {
    if (!is_waiting_for_connections_ || results_.n_connected + results_.num_errors() < options_.n_clients) return;
    is_waiting_for_connections_ = false;
    for (const auto& client : clients_) {
      if (client->is_connected()) client->start(0);
    }
  }

  const Options& options_;
  asio::io_context io_{1};
  Results results_;
  ClientContext context_;
  asio::steady_timer timer_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::unique_ptr<Client> probe_;
  int64_t n_jobs_ = 0, n_running_ = 0;
  bool was_probed_ = false, is_waiting_for_connections_ = false;
};

}  // namespace

RunOutcome run(const Options& options) {
  const double cpu = own_cpu_seconds();
  const auto server_before = cpu_by_thread_name(options.server_pid);
  RunOutcome outcome{.results = Runner(options).run(), .server_cpu = cpu_by_thread_name(options.server_pid)};
  outcome.client_cpu = own_cpu_seconds() - cpu;
  for (auto& [name, seconds] : outcome.server_cpu) {
    if (const auto before = server_before.find(name); before != server_before.end()) seconds -= before->second;
  }
  return outcome;
}

}  // namespace packhorse::load
