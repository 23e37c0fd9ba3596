#pragma once
// The engine's options on a command line.

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "app/engine_flags.h"

namespace packhorse::cli {

/// Help text broken into lines that fit beside the option names.
std::string wrap_help(std::string_view text);

/// Adds an option whose text `set(text)` takes, with the value's name for help and for errors.
template <class Set>
CLI::Option* add_value(CLI::App& command, const std::string& names, std::string_view metavar, std::string_view help,
                       Set set) {
  return command.add_option_function<std::string>(names, std::move(set), wrap_help(help))
      ->type_name(std::string(metavar));
}

/// Adds all of EngineOptions to `command`; `options` must outlive it.
void add_engine_flags(CLI::App& command, EngineOptions& options);
/// After parsing: fills from the environment what was not given, and refuses what this build cannot do.
void finish_engine_flags(const CLI::App& command, EngineOptions& options);

/// Arguments in the spelling that the parser knows: "-tp" and underscores, as vLLM takes them.
std::vector<std::string> normalize_arguments(int argc, const char* const* argv);

/// Throws Error{usage} about an argument that `command` does not know; names the nearest one that it does.
[[noreturn]] void fail_unknown(const CLI::App& command, const std::string& argument);

}  // namespace packhorse::cli
