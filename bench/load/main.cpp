// Puts load on a server of OpenAI's API: `build/load --url http://127.0.0.1:8000 --clients 8 --requests 80`. One
// thread; every client keeps one connection and streams one answer after the other. Ends with status 1 when anything
// was lost: an answer without end, of another length than was asked for, or refused without being told when to come
// back.

#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "load/model_name.h"
#include "load/options.h"
#include "load/report.h"
#include "load/run.h"

namespace packhorse::load {
namespace {

void set_url(Options& options, const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  const std::string host = url.substr(kScheme.size());
  const size_t colon = host.rfind(':'), slash = host.find('/');
  if (!url.starts_with(kScheme) || colon == std::string::npos ||
      (slash != std::string::npos && slash + 1 != host.size()))
    throw CLI::ValidationError("--url", "'" + url + "' is not http://HOST:PORT");
  options.host = host.substr(0, colon);
  options.port = host.substr(colon + 1, slash - colon - 1);
}

void add_flags(CLI::App& app, Options& o) {
  app.add_option_function<std::string>(
      "--url", [&o](const std::string& url) { set_url(o, url); }, "http://HOST:PORT");
  app.add_option("--endpoint", o.path, "path of the route")
      ->check(CLI::IsMember({"/v1/completions", "/v1/chat/completions"}))
      ->capture_default_str();
  app.add_option("--model", o.model, "name of the model [default: the first of /v1/models]");
  app.add_option("--api-key", o.api_key, "key to show");
  app.add_option("--clients", o.n_clients, "clients at a time")->check(CLI::Range(1, 65000))->capture_default_str();
  auto* requests = app.add_option("--requests", o.n_requests, "requests of all clients together")
                       ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  app.add_option("--seconds", o.seconds, "new requests are sent for so long; the last answers are waited for")
      ->check(CLI::PositiveNumber)
      ->excludes(requests);
  auto* connect_only = app.add_option_function<int64_t>(
      "--connect-only",
      [&o](int64_t n) {
        o.n_clients = o.n_requests = n;
        o.connect_first = true;
      },
      "so many clients connect, then all ask for one answer");
  connect_only->excludes(requests);
  app.add_option("--prompt-tokens", o.prompt_tokens, "words of a prompt, most of them one token")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--shared-prefix", o.shared_prefix, "words that all prompts begin with")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-tokens", o.max_tokens, "tokens of an answer")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--stagger", o.stagger, "seconds over which the clients' first requests are spread")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--probe-after", o.probe_after, "seconds after which one request with a long prompt is sent besides")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--probe-prompt-tokens", o.probe_prompt_tokens, "its words")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--timeout", o.timeout, "seconds without a byte after which a request is given up")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--server-pid", o.server_pid, "process whose CPU time and memory are reported")
      ->check(CLI::PositiveNumber);
  app.add_option("--seed", o.seed, "of the prompts")->check(CLI::NonNegativeNumber);
  app.add_flag("--json", o.json, "print JSON, with a timeline");
}

/// A thousand connections need more descriptors than a shell grants at first.
void allow_connections() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Measures a server of OpenAI's API under load");
  add_flags(app, options);
  CLI11_PARSE(app, argc, argv);
  try {
    if (options.n_requests == 0 && options.seconds == 0) options.n_requests = options.n_clients;
    allow_connections();
    if (options.model.empty()) options.model = model_name(options);
    const RunOutcome outcome = run(options);
    const auto report = report_json(options, outcome);
    fmt::print("{}", options.json ? report.dump() + "\n" : report_text(report));
    return outcome.results.num_errors() > 0 ? 1 : 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 2;
  }
}

}  // namespace
}  // namespace packhorse::load

int main(int argc, char** argv) { return packhorse::load::main(argc, argv); }
