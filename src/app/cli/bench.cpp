// packhorse bench: speed of models as llama-bench measures it, and how near it comes to the limit of memory.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <memory>
#include <thread>

#include "app/cli/bench_report.h"
#include "app/cli/bench_run.h"
#include "app/cli/bench_settings.h"
#include "app/cli/cli.h"
#include "app/cli/flags.h"
#include "app/cli/load.h"
#include "app/cli/read_bandwidth.h"
#include "app/cli/terminal.h"

namespace packhorse::cli {
namespace {

std::string utc_now() { return fmt::format("{:%FT%TZ}", fmt::gmtime(std::time(nullptr))); }

/// Which run is going on, on a terminal only; the line vanishes before anything else is printed.
class Progress {
 public:
  ~Progress() { show(""); }
  void show(const std::string& text) {
    if (!is_terminal(STDERR_FILENO)) return;
    write_stderr(fmt::format("\r{:<{}}\r{}", "", shown_, text));
    shown_ = text.size();
  }

 private:
  size_t shown_ = 0;
};

std::vector<int64_t> run_test(BenchRun& run, const BenchTest& test, const BenchSettings& settings) {
  Progress line;
  const std::string name =
      fmt::format("{}, {} sequence{}", test.name(), test.n_sequences, test.n_sequences > 1 ? "s" : "");
  if (settings.delay_s > 0) {
    line.show(fmt::format("{}: waiting {} s", name, settings.delay_s));
    std::this_thread::sleep_for(std::chrono::seconds(settings.delay_s));
  }
  return run.measure(test, settings.repetitions, settings.warmup, [&](int64_t repetition) {
    line.show(repetition == 0 ? fmt::format("{}: warm-up", name)
                              : fmt::format("{}: {} of {}", name, repetition, settings.repetitions));
  });
}

void run_engine(const BenchSettings& settings, const EngineOptions& options, BenchReport& report) {
  Engine engine = load_engine(options);
  const BenchModel model = describe_model(engine);
  const std::vector<BenchTest> tests = settings.tests();
  for (const BenchTest& test : tests) require_room(model, test);
  const bool generates = std::ranges::any_of(tests, [](const BenchTest& test) { return test.n_prompt == 0; });
  const double bandwidth = generates ? measure_read_bandwidth(model.threads, streaming_buffer_bytes(model.threads)) : 0;
  BenchRun run(engine);
  for (const BenchTest& test : tests) {
    BenchResult result{.model = model,
                       .test = test,
                       .n_batch = options.max_num_batched_tokens,
                       .test_time = utc_now(),
                       .samples_ns = {},
                       .read_bandwidth = bandwidth};
    result.samples_ns = run_test(run, test, settings);
    write_stdout(report.add(result));
  }
}

void execute(const BenchSettings& settings) {
  BenchReport report(settings);
  for (const std::string& model : settings.models) {
    for (const int64_t threads : settings.threads) {
      for (const int64_t batch : settings.n_batch) {
        run_engine(settings, settings.engine_options(model, threads, batch), report);
      }
    }
  }
  write_stdout(report.finish());
}

}  // namespace

Command add_bench_command(CLI::App& program) {
  const auto settings = std::make_shared<BenchSettings>();
  CLI::App* command = program.add_subcommand("bench", "Measure the speed of models, as llama-bench does");
  command->allow_extras();
  add_engine_flags(*command, settings->engine);
  settings->add_to(*command);
  return {command, [settings, command] {
            finish_engine_flags(*command, settings->engine);
            settings->finish(*command);
            execute(*settings);
          }};
}

}  // namespace packhorse::cli
