#pragma once
// Flags of `vllm serve` that are no flags here: those without effect, and those of features that are not there.

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace packhorse::cli {

/// Adds them all, hidden. Those without effect are noted in `ignored`, as they were given; the others throw
/// Error{usage}, unless they are given a value that asks for nothing.
void add_vllm_flags(CLI::App& command, std::vector<std::string>& ignored);

/// The same for an entry of a configuration file; `name` may begin with "no-". False when vLLM has no such flag.
bool take_vllm_flag(std::string_view name, const std::vector<std::string>& values, std::string_view label,
                    std::vector<std::string>& ignored);

/// An argument with the long name for vLLM's letters: "--optimization-level=3" for "-O3", "--compilation-config.mode=1"
/// for "-cc.mode=1". Other arguments are returned as they are.
std::string with_long_name(const std::string& argument);

}  // namespace packhorse::cli
