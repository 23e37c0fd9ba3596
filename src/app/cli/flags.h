#pragma once
// The engine's options on a command line.

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <type_traits>
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

/// A flag's meaning, default and environment variable.
template <class Member>
std::string help_text(const app::Flag& flag, const Member& member) {
  std::string value(flag.unset);
  if constexpr (std::is_same_v<Member, std::string>)
    value = value.empty() && member.empty() ? "none" : value.empty() ? member : value;
  else if constexpr (fmt::is_formattable<Member>::value)
    value = value.empty() ? fmt::format("{}", member) : value;
  return fmt::format("{} [default: {}; {}]", flag.help, value.empty() ? "none" : value, flag.variable());
}

/// Adds the option of a flag that has one value; `member` must outlive the command.
template <class Member>
CLI::Option* add_flag(CLI::App& command, const app::Flag& flag, Member& member) {
  const std::string help = help_text(flag, member), name = flag.long_name();
  const std::string names = flag.letter ? fmt::format("-{},{}", flag.letter, name) : name;
  if constexpr (std::is_same_v<Member, bool>) {
    return command.add_flag(fmt::format("{},!--no-{}", names, flag.name), member, wrap_help(help));
  } else {
    return add_value(command, names, flag.metavar, help,
                     [flag, name, &member](const std::string& text) { app::set_from_text(flag, name, text, member); });
  }
}

/// Adds all of EngineOptions to `command`; `options` must outlive it.
void add_engine_flags(CLI::App& command, EngineOptions& options);
/// After parsing: fills from the environment what was not given, and refuses what this build cannot do.
void finish_engine_flags(const CLI::App& command, EngineOptions& options);

/// The name here of a flag of `serve` that vLLM calls otherwise: "log-level" for "uvicorn-log-level". Others stay.
std::string_view usual_name(std::string_view name);

/// Arguments in the spelling that the parser knows: "-tp", underscores, other names and --json-flag.member, as vLLM
/// takes them.
std::vector<std::string> normalize_arguments(int argc, const char* const* argv);

/// Throws Error{usage} about an argument that `command` does not know; names the nearest one that it does.
[[noreturn]] void fail_unknown(const CLI::App& command, const std::string& argument);

}  // namespace packhorse::cli
