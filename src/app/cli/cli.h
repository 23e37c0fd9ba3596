#pragma once
// The packhorse program: `run`, `serve`, `inspect`, `eval` and `bench`.

#include <CLI/CLI.hpp>
#include <functional>

namespace packhorse::cli {

/// Parses the arguments, runs the command and returns the exit status; errors become one line on standard error.
int run_program(int argc, const char* const* argv);

/// A subcommand: its options, and what to do once they are parsed.
struct Command {
  CLI::App* parser;
  std::function<void()> execute;
};
Command add_run_command(CLI::App& program);
Command add_inspect_command(CLI::App& program);
Command add_eval_command(CLI::App& program);
Command add_bench_command(CLI::App& program);
Command add_serve_command(CLI::App& program);

}  // namespace packhorse::cli
