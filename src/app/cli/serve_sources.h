#pragma once
// Where the settings of `packhorse serve` come from: the command line beats the configuration file, which beats the
// environment, which beats the defaults.

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "app/cli/config_file.h"
#include "app/server/serve_flags.h"

namespace packhorse::cli {

struct ServeSettings {
  EngineOptions engine;  // `model` is empty until one is given
  server::ServeFlags flags;
  std::string config;                // path of a file, or empty
  std::string tokenizer_revision;    // has to be that of the model
  std::vector<std::string> ignored;  // flags of vLLM without effect, as they were given

  void add_to(CLI::App& command);
  /// After parsing: what the command line did not give. Throws Error{usage, io}.
  void finish(const CLI::App& command);

 private:
  void apply_entry(const CLI::App& command, const ConfigEntry& entry);
};

}  // namespace packhorse::cli
