#include "app/cli/flags.h"

#include <algorithm>

#include "app/cli/dotted_arguments.h"
#include "app/cli/nearest.h"
#include "app/cli/text_table.h"
#include "app/cli/vllm_flags.h"

namespace packhorse::cli {
namespace {

using app::Flag;

/// What `command` accepts at this place: its options and subcommands.
std::vector<std::string> known_words(const CLI::App& command) {
  std::vector<std::string> words;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  }
  for (const CLI::App* child : command.get_subcommands({})) words.push_back(child->get_name());
  return words;
}

}  // namespace

std::string wrap_help(std::string_view text) { return wrapped(text, 0, 76); }

void add_engine_flags(CLI::App& command, EngineOptions& options) {
  app::visit_flags(options, [&](const Flag& flag, auto& member) { add_flag(command, flag, member)->group("Engine"); });
  command.add_option_function<std::string>("--weights-load-device", [](const std::string&) {})->group("");
}

void finish_engine_flags(const CLI::App& command, EngineOptions& options) {
  app::apply_environment(options, [&](const Flag& flag) { return command.count(flag.long_name()) > 0; });
  app::check_supported(options);
}

std::string_view usual_name(std::string_view name) {
  if (name == "disable-uvicorn-access-log") return "disable-access-log";
  return name == "uvicorn-log-level" ? "log-level" : name;
}

std::vector<std::string> normalize_arguments(int argc, const char* const* argv) {
  std::vector<std::string> arguments;
  const std::string_view command = argc > 1 ? argv[1] : "";
  bool only_positional = false;
  for (int i = 1; i < argc; ++i) {
    std::string text = argv[i];
    only_positional = only_positional || text == "--";
    if (!only_positional && (command == "serve" || text == "-tp" || text == "-pp" || text == "-dp"))
      text = with_long_name(text);
    if (!only_positional && text == "-pg" && command == "bench") text = "--pg";  // elsewhere it is -p with the value g
    if (!only_positional && text.starts_with("--")) {
      const size_t end = std::min(text.find_first_of("=."), text.size());
      std::replace(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), '_', '-');
      if (command == "serve")
        text = fmt::format("--{}{}", usual_name(std::string_view(text).substr(2, end - 2)), text.substr(end));
    }
    arguments.push_back(std::move(text));
  }
  return fold_dotted_arguments(std::move(arguments));
}

void fail_unknown(const CLI::App& command, const std::string& argument) {
  const std::string word = argument.substr(0, argument.find('='));
  const std::string nearest = nearest_word(word, known_words(command));
  const std::string hint = nearest.empty() ? "see --help" : fmt::format("did you mean '{}'?", nearest);
  const char* what = argument.starts_with('-')         ? "unknown option"
                     : command.get_parent() == nullptr ? "unknown command"
                                                       : "unexpected argument";
  throw Error(ErrorKind::usage, fmt::format("{} '{}' ({})", what, printable(argument), hint));
}

}  // namespace packhorse::cli
