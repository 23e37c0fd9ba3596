// packhorse inspect: what a checkpoint holds and which kernels run it, or what this build can do.
#include <memory>
#include <nlohmann/json.hpp>

#include "app/cli/cli.h"
#include "app/cli/flags.h"
#include "app/cli/inspect_report.h"
#include "app/cli/load.h"
#include "app/cli/terminal.h"

namespace packhorse::cli {
namespace {

using nlohmann::json;

struct Inspect {
  EngineOptions engine;
  bool explain = false, as_json = false, formats = false;

  void check(bool has_model) const;
  void execute() const;
};

void Inspect::check(bool has_model) const {
  if (formats && has_model)
    throw Error(ErrorKind::usage,
                "--formats is about this build and takes no MODEL (got '" + printable(engine.model) + "')");
  if (!formats && !has_model)
    throw Error(ErrorKind::usage, "MODEL is required (or --formats, for what this build can do)");
}

void Inspect::execute() const {
  if (formats) {
    const json info = json::parse(formats_json());
    return write_stdout(as_json ? info.dump(2) + "\n" : formats_report(info));
  }
  EngineOptions options = engine;
  options.skip_tokenizer_init = true;
  const json info = json::parse(load_engine(options).inspect_json(explain));
  write_stdout(as_json ? info.dump(2) + "\n" : model_report(info));
}

}  // namespace

Command add_inspect_command(CLI::App& program) {
  const auto inspect = std::make_shared<Inspect>();
  CLI::App* command = program.add_subcommand("inspect", "Show the formats of a model's weights, or of this build");
  command->allow_extras();
  command->add_option("MODEL", inspect->engine.model, "model folder, .gguf file, repo id in the hub cache, or demo")
      ->type_name("");
  command->add_flag("--formats", inspect->formats, "instead of a model: methods and devices of this build");
  command->add_flag("--explain", inspect->explain, "every module: why its kernel was chosen and the others were not");
  command->add_flag("--json", inspect->as_json, "machine-readable");
  add_engine_flags(*command, inspect->engine);
  return {command, [inspect, command] {
            inspect->check(command->count("MODEL") > 0);
            finish_engine_flags(*command, inspect->engine);
            inspect->execute();
          }};
}

}  // namespace packhorse::cli
