#pragma once
// What the connections of one server share. Used on the I/O thread, but for the atomic counts.

#include <atomic>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <random>

#include "app/server/http/api_keys.h"
#include "app/server/http/body_budget.h"
#include "app/server/http/cors.h"
#include "app/server/http/http_server.h"
#include "app/server/http/router.h"

namespace packhorse::server {

class Connection;
using Clock = std::chrono::steady_clock;

struct Service {
  Service(HttpOptions given, ErrorFormat errors)
      : options(std::move(given)),
        error_format(errors),
        api_keys(options.api_keys),
        cors(options.cors),
        bodies(std::make_shared<BodyBudget>(options.limits.max_bodies_bytes)),
        unread(std::make_shared<BodyBudget>(options.limits.max_bodies_bytes)),
        random(std::random_device{}()) {}
  virtual ~Service() = default;
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  /// Runs `task` on the I/O thread; from any thread.
  virtual void post(std::function<void()> task) = 0;
  /// Runs `task` on a worker.
  virtual void work(std::function<void()> task) = 0;
  /// A connection was closed or is idle now: another one may come.
  virtual void make_room() = 0;

  HttpOptions options;
  const ErrorFormat error_format;  // where no route has its own
  Router router;
  ApiKeys api_keys;
  Cors cors;
  const std::shared_ptr<BodyBudget> bodies, unread;  // of requests; of answers until their clients have them
  std::function<void(const AccessRecord&)> log;
  std::mt19937_64 random;  // for request ids, which are no secrets

  std::list<std::shared_ptr<Connection>> connections;
  std::list<Connection*> idle;  // those that wait for a request; the first one has waited longest

  std::atomic<int64_t> n_active{0}, n_connections{0};
  std::atomic<bool> is_draining{false};
};

}  // namespace packhorse::server
