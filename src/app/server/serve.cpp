#include "app/server/serve.h"

#include <fmt/format.h>

#include <chrono>
#include <ctime>
#include <thread>
#include <utility>

#include "app/server/access_log.h"
#include "app/server/api/errors.h"
#include "app/server/api/handlers.h"
#include "app/server/context.h"
#include "app/server/http/http_server.h"
#include "app/server/log_writer.h"
#include "app/server/metrics.h"
#include "app/server/stats_log.h"

namespace packhorse::server {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kLastWords{5};  // for clients to read why their answers end

}  // namespace

// Members are destroyed from the last to the first: the engine ends while what its outputs go to still lives.
struct Server::Impl {
  EngineOptions engine_options;
  ServeFlags flags;
  ApiOptions api;
  HttpOptions http_options;
  LogWriter log;
  AccessLog access_log;
  Metrics metrics;
  HttpServer http;
  std::unique_ptr<AsyncEngine> engine;
  std::unique_ptr<ServerContext> context;
  StatsLog stats_log;
  Clock::time_point last_stats = Clock::now();

  Impl(const EngineOptions& given_engine, const ServeFlags& given_flags)
      : engine_options(server::engine_options(given_flags, given_engine)),
        flags(given_flags),
        api(api_options(flags, engine_options)),
        http_options(server::http_options(flags)),
        access_log(log, access_log_format(flags), flags.disable_access_log_for_endpoints),
        metrics(api.served_model_names.front()),
        http(http_options, error_response) {}

  ~Impl() {
    http.stop();     // no handler runs any more, so none sees the engine end
    engine.reset();  // its last outputs go to what the context holds
  }

  void add_routes() {
    add_status_routes(http, *context);
    add_completion_routes(http, *context);
    add_tokenizer_routes(http, *context);
    add_embedding_routes(http, *context);
    add_chat_routes(http, *context);
    add_response_routes(http, *context);
    add_message_routes(http, *context);
    add_chat_page(http, http_options.root_path);
  }

  void on_access(const AccessRecord& record) {
    if (record.request) {
      const HttpRequest& request = *record.request;
      metrics.on_http(handler_label(request), method_label(request), record.status, record.seconds);
    }
    access_log.add(record);
  }
};

Server::Server(const EngineOptions& engine, const ServeFlags& flags) : impl_(std::make_unique<Impl>(engine, flags)) {}
Server::~Server() = default;

void Server::start(const ProgressFn& on_progress) {
  Impl& s = *impl_;
  EngineOptions options = s.engine_options;
  options.on_progress = on_progress;
  s.engine = std::make_unique<AsyncEngine>(options);
  s.context.reset(new ServerContext{*s.engine, s.api, s.metrics, std::time(nullptr), /*n_prompts=*/{0}});
  s.context->log = &s.log;
  s.engine->on_step([&metrics = s.metrics](const EngineStats& stats) { metrics.on_step(stats); });
  s.http.on_access([&s](const AccessRecord& record) { s.on_access(record); });
  s.add_routes();
  s.http.start();
}

std::string Server::url() const { return impl_->http.url(); }
std::string Server::model_name() const { return impl_->api.served_model_names.front(); }
const std::vector<std::string>& Server::warnings() const { return impl_->engine->engine().warnings(); }

void Server::begin_drain() { impl_->http.begin_drain(); }

void Server::abort_all() {
  impl_->engine->abort_all();
  const Clock::time_point deadline = Clock::now() + kLastWords;
  while (num_active() > 0 && Clock::now() < deadline) std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

int64_t Server::num_active() const { return impl_->http.num_active(); }

std::optional<std::string> Server::failure() const { return impl_->engine->failure(); }

void Server::note(std::string line) { impl_->log.write(std::move(line)); }

void Server::log_stats() {
  Impl& s = *impl_;
  const Clock::time_point now = Clock::now();
  const std::chrono::duration<double> seconds = now - std::exchange(s.last_stats, now);
  const std::string line = s.stats_log.line(s.engine->stats(), seconds.count());
  if (!line.empty() && !s.flags.disable_log_stats && s.flags.shows_info())
    s.log.write(fmt::format("{} {}", log_time(), line));
}

}  // namespace packhorse::server
