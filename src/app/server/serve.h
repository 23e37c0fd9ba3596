#pragma once
// The server as a whole: socket, engine, routes, metrics and logs.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "app/server/serve_flags.h"
#include "packhorse/packhorse.h"

namespace packhorse::server {

class Server {
 public:
  /// Checks the flags and binds the socket. Throws Error{usage, io}.
  Server(const EngineOptions& engine, const ServeFlags& flags);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Loads the model, then listens. Throws as Engine's constructor does.
  void start(const ProgressFn& on_progress);
  /// After `start`; the warnings are about the checkpoint.
  std::string url() const;
  std::string model_name() const;
  const std::vector<std::string>& warnings() const;

  /// From now on nothing new is taken.
  void begin_drain();
  /// Ends what still runs; clients learn it. Returns once they have, or some seconds later.
  void abort_all();
  int64_t num_active() const;
  /// Why the engine stopped for good, if it did.
  std::optional<std::string> failure() const;
  /// A line for the log, which is written without waiting for who reads it.
  void note(std::string line);
  /// A line about the throughput since the last call, unless nothing happened or nobody wants it.
  void log_stats();

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace packhorse::server
