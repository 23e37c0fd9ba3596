// packhorse inspect: what a checkpoint holds and which kernels run it.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/cli/cli.h"
#include "app/cli/flags.h"
#include "app/cli/load.h"
#include "app/cli/terminal.h"

namespace packhorse::cli {
namespace {

using nlohmann::json;

struct Inspect {
  EngineOptions engine;
  bool explain = false, as_json = false;

  void execute() const;
};

std::string size_text(double bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < std::size(units)) bytes /= 1024, ++unit;
  return fmt::format("{:.{}f} {}", bytes, unit ? 1 : 0, units[unit]);
}

std::string shape_text(const json& shape) {
  std::string text;
  for (const json& size : shape) text += fmt::format("{}{}", text.empty() ? "" : "x", size.get<uint64_t>());
  return text;
}

double n_elements(const json& shape) {
  double n = shape.empty() ? 0 : 1;
  for (const json& size : shape) n *= size.get<double>();
  return n;
}

/// One row of text per module, columns as wide as their longest entry.
class Table {
 public:
  void add(std::vector<std::string> cells, std::vector<std::string> notes = {}) {
    widths_.resize(std::max(widths_.size(), cells.size()));
    for (size_t i = 0; i < cells.size(); ++i) widths_[i] = std::max(widths_[i], cells[i].size());
    rows_.push_back({std::move(cells), std::move(notes)});
  }
  std::string text() const {
    std::string out;
    for (const Row& row : rows_) {
      std::string line;
      for (size_t i = 0; i < row.cells.size(); ++i) line += fmt::format("{:<{}}  ", row.cells[i], widths_[i]);
      out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
      for (const std::string& note : row.notes) out += "    " + note + "\n";
    }
    return out;
  }

 private:
  struct Row {
    std::vector<std::string> cells, notes;
  };
  std::vector<Row> rows_;
  std::vector<size_t> widths_;
};

std::vector<std::string> reasons(const json& module) {
  std::vector<std::string> lines;
  for (const json& candidate : module.value("candidates", json::array())) {
    const json& why_not = candidate.at("why_not");
    lines.push_back(fmt::format("{} {}: {}", candidate.at("phase").get<std::string>(),
                                candidate.at("kernel").get<std::string>(),
                                why_not.is_null() ? "chosen" : why_not.get<std::string>()));
  }
  return lines;
}

std::string report(const json& info) {
  Table table;
  table.add({"module", "format", "shape", "decode", "prefill", "bytes"});
  double bytes = 0, elements = 0;
  for (const json& module : info.at("modules")) {
    const auto field = [&](const char* key) { return printable(module.at(key).get<std::string>()); };
    table.add({field("name"), field("format"), shape_text(module.at("shape")), field("decode"), field("prefill"),
               fmt::format("{}", module.at("bytes").get<uint64_t>())},
              reasons(module));
    bytes += module.at("bytes").get<double>();
    if (!module.value("shared", false)) elements += n_elements(module.at("shape"));
  }
  const auto head = [&](const char* key) { return printable(info.at(key).get<std::string>(), 4096); };
  return fmt::format("model: {}\n", head("model")) +
         fmt::format("architecture: {}, quantization {}, dtype {}, kv cache {}, context {}\n", head("architecture"),
                     head("quantization"), head("dtype"), head("kv_cache_dtype"),
                     info.at("max_model_len").get<int64_t>()) +
         fmt::format("runs on: {}, {} threads\n\n", head("isa"), info.at("threads").get<int64_t>()) + table.text() +
         fmt::format("\nparameters: {:.1f} M in {} modules, {:.2f} bits per weight\n", elements / 1e6,
                     info.at("modules").size(), elements > 0 ? bytes * 8 / elements : 0.0) +
         fmt::format("memory: weights {}, kv cache {}\n", size_text(info.at("weight_bytes").get<double>()),
                     size_text(info.at("kv_cache_bytes").get<double>()));
}

void Inspect::execute() const {
  EngineOptions options = engine;
  options.skip_tokenizer_init = true;
  const std::string text = load_engine(options).inspect_json(explain);
  write_stdout(as_json ? json::parse(text).dump(2) + "\n" : report(json::parse(text)));
}

}  // namespace

Command add_inspect_command(CLI::App& program) {
  const auto inspect = std::make_shared<Inspect>();
  CLI::App* command = program.add_subcommand("inspect", "Show the weights of a model, module by module");
  command->allow_extras();
  command->add_option("MODEL", inspect->engine.model, "model folder, .gguf file, repo id in the hub cache, or demo")
      ->type_name("")
      ->required();
  command->add_flag("--explain", inspect->explain, "why each kernel was chosen and the others were not");
  command->add_flag("--json", inspect->as_json, "machine-readable");
  add_engine_flags(*command, inspect->engine);
  return {command, [inspect, command] {
            finish_engine_flags(*command, inspect->engine);
            inspect->execute();
          }};
}

}  // namespace packhorse::cli
