#include "app/cli/load.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "app/cli/terminal.h"

namespace packhorse::cli {

ProgressFn terminal_progress(std::shared_ptr<ProgressLine> line) {
  if (!is_terminal(STDERR_FILENO)) return {};
  return [line = std::move(line)](std::string_view what, uint64_t done, uint64_t total) {
    line->update(what, done, total);
  };
}

Engine load_engine(EngineOptions options) {
  const auto line = std::make_shared<ProgressLine>();  // the engine keeps it for later work
  options.on_progress = terminal_progress(line);
  Engine engine(options);
  line->clear();
  line->count_things();  // what follows loading is texts to score
  for (const std::string& warning : engine.warnings()) write_stderr(fmt::format("warning: {}\n", warning));
  return engine;
}

}  // namespace packhorse::cli
