// packhorse serve: the model behind an HTTP interface.
#include "app/server/serve.h"

#include <fmt/format.h>
#include <malloc.h>
#include <poll.h>

#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <thread>

#include "app/cli/cli.h"
#include "app/cli/flags.h"
#include "app/cli/load.h"
#include "app/cli/serve_sources.h"
#include "app/cli/signals.h"
#include "app/cli/terminal.h"

namespace packhorse::cli {
namespace {

using Clock = std::chrono::steady_clock;

/// Empty where nobody wants to be told.
std::string message(const server::ServeFlags& flags, std::string_view level, const std::string& text) {
  if (level == "warning") return flags.shows_warnings() ? fmt::format("warning: {}", text) : "";
  return flags.shows_info() ? text : "";
}

void tell(const server::ServeFlags& flags, std::string_view level, const std::string& text) {
  if (const std::string line = message(flags, level, text); !line.empty()) write_stderr(line + "\n");
}

/// Whether the terminal's end is a reason to stop: not under nohup.
bool minds_hangup() {
  struct sigaction action {};
  return sigaction(SIGHUP, nullptr, &action) == 0 && action.sa_handler != SIG_IGN;
}

/// Returns when a signal asks to stop; a second one that has come by then, or 0. Throws Error{internal} when the engine
/// stops by itself.
int wait_for_signal(server::Server& server, SignalWatch& watch) {
  constexpr int kLook = 500;  // milliseconds
  constexpr std::chrono::seconds kStatsInterval{10}, kLastWords{2};
  Clock::time_point next_stats = Clock::now() + kStatsInterval;
  while (watch.next() == 0) {
    pollfd notes{watch.descriptor(), POLLIN, 0};
    ::poll(&notes, 1, kLook);
    if (const auto failure = server.failure()) {
      const Clock::time_point end = Clock::now() + kLastWords;  // for clients to be told
      while (server.num_active() > 0 && Clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      throw Error(ErrorKind::internal, fmt::format("the engine has stopped: {}", *failure));
    }
    if (Clock::now() >= next_stats) {
      server.log_stats();
      next_stats = Clock::now() + kStatsInterval;
    }
  }
  return watch.next();
}

/// Lets what runs end, for so long. From here on a signal ends the process at once.
void drain(server::Server& server, const server::ServeFlags& flags) {
  // Nothing here waits for who reads standard error.
  const auto note = [&](std::string_view level, const std::string& text) {
    if (std::string line = message(flags, level, text); !line.empty()) server.note(std::move(line));
  };
  server.begin_drain();
  const auto end =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(flags.shutdown_timeout));
  const int64_t n = server.num_active();
  if (n > 0) note("info", fmt::format("stopping: {} requests may take {} s more", n, flags.shutdown_timeout));
  while (server.num_active() > 0 && Clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  if (server.num_active() > 0) {
    note("warning", fmt::format("{} requests were ended", server.num_active()));
    server.abort_all();
  }
}

/// A server lives long and gets large requests now and then: their memory is to go back to the system.
void return_memory() {
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 8 << 20);
  ::mallopt(M_ARENA_MAX, 2);
}

void serve(const ServeSettings& settings) {
  const server::ServeFlags& flags = settings.flags;
  for (const std::string& name : settings.ignored)
    tell(flags, "warning", fmt::format("{}: accepted without effect", name));
  return_memory();
  const Clock::time_point begin = Clock::now();
  server::Server server(settings.engine, flags);
  const std::string& host = flags.http.host;
  const bool is_local = host == "localhost" || host == "::1" || host.starts_with("127.");
  if (!is_local && flags.http.uds.empty() && flags.http.api_keys.empty())
    tell(flags, "warning",
         fmt::format("all who reach {} may use the model (--api-key asks for a key)", printable(host)));
  const auto line = std::make_shared<ProgressLine>();
  server.start(terminal_progress(line));
  line->clear();
  for (const std::string& warning : server.warnings()) tell(flags, "warning", warning);
  const std::chrono::duration<double> seconds = Clock::now() - begin;
  // Whoever reads that the server is ready may tell it to stop.
  std::optional<SignalWatch> watch(std::in_place, minds_hangup() ? std::initializer_list<int>{SIGINT, SIGTERM, SIGHUP}
                                                                 : std::initializer_list<int>{SIGINT, SIGTERM});
  tell(flags, "info",
       fmt::format("Packhorse {}: {} ready on {} (loaded in {:.2f} s)", version(), printable(server.model_name()),
                   server.url(), seconds.count()));
  const int second = wait_for_signal(server, *watch);
  watch.reset();
  if (second) ::raise(second);
  drain(server, flags);
}

}  // namespace

Command add_serve_command(CLI::App& program) {
  const auto settings = std::make_shared<ServeSettings>();
  CLI::App* command = program.add_subcommand("serve", "Answer OpenAI's HTTP interface");
  command->allow_extras();
  settings->add_to(*command);
  return {command, [settings, command] {
            settings->finish(*command);
            serve(*settings);
          }};
}

}  // namespace packhorse::cli
