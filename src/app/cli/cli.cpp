#include "app/cli/cli.h"

#include <fmt/format.h>

#include <exception>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "app/cli/flags.h"
#include "app/cli/terminal.h"
#include "packhorse/packhorse.h"

namespace packhorse::cli {
namespace {

/// The parser's sentence on one line.
std::string one_line(std::string text) {
  for (char& c : text) c = c == '\n' ? ' ' : c;
  return printable(text, 400);
}

void parse(CLI::App& program, std::vector<std::string> arguments) {
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // the order that CLI11 takes
    program.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    throw;
  } catch (const CLI::ArgumentMismatch& e) {
    const std::string_view text = e.what();
    const std::string_view problem = text.find("missing") == text.npos ? "given more than once" : "needs a value";
    throw Error(ErrorKind::usage, fmt::format("{}: {}", text.substr(0, text.find(':')), problem));
  } catch (const CLI::ParseError& e) {
    throw Error(ErrorKind::usage, one_line(e.what()));
  }
}

/// Switches stand once, like options with a value: of two that contradict each other none is meant.
void refuse_repetition(CLI::App& command) {
  for (CLI::Option* option : command.get_options()) {
    if (option->get_items_expected_max() == 0) option->multi_option_policy(CLI::MultiOptionPolicy::Throw);
  }
}

/// Shows a switch as "--x,--no-x", without the parser's own notation of its opposite.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_name(const CLI::Option* option, bool is_positional) const override {
    std::string name = CLI::Formatter::make_option_name(option, is_positional);
    constexpr std::string_view kNotation = "{false}";
    if (const size_t at = name.find(kNotation); at != name.npos) name.erase(at, kNotation.size());
    return name;
  }
};

void run_commands(int argc, const char* const* argv) {
  CLI::App program("Runs any quantized language model on the machine at hand.", "packhorse");
  program.allow_extras();
  program.require_subcommand(0, 1);
  program.set_help_flag("-h,--help", "show this help");
  program.formatter(std::make_shared<HelpFormatter>());
  program.get_formatter()->column_width(36);
  bool wants_version = false;
  program.add_flag("--version", wants_version, "build, CPU features and instruction sets: what a bug report needs");
  const std::vector<Command> commands = {add_run_command(program), add_inspect_command(program),
                                         add_eval_command(program), add_bench_command(program),
                                         add_serve_command(program)};
  refuse_repetition(program);
  for (const Command& command : commands) refuse_repetition(*command.parser);
  try {
    parse(program, normalize_arguments(argc, argv));
  } catch (const CLI::CallForHelp&) {
    return write_stdout(program.help());
  }
  if (const auto extra = program.remaining(); !extra.empty()) fail_unknown(program, extra.front());
  if (wants_version) return write_stdout(version_text() + "\n");
  for (const Command& command : commands) {
    if (!command.parser->parsed()) continue;
    if (const auto extra = command.parser->remaining(); !extra.empty()) fail_unknown(*command.parser, extra.front());
    return command.execute();
  }
  throw Error(ErrorKind::usage, "no command given (run, serve, inspect, eval or bench; --help tells more)");
}

int report(ErrorKind kind, std::string_view message) {
  write_stderr(fmt::format("error: {}\n", message));
  return exit_status(kind);
}

}  // namespace

int run_program(int argc, const char* const* argv) {
  install_signal_handlers();
  try {
    run_commands(argc, argv);
    return 0;
  } catch (const Error& e) {
    return report(e.kind(), e.what());
  } catch (const std::bad_alloc&) {
    return report(ErrorKind::resource, "out of memory");
  } catch (const std::exception& e) {
    return report(ErrorKind::internal, one_line(e.what()));
  }
}

}  // namespace packhorse::cli
