#include "app/cli/load.h"

#include <fmt/format.h>
#include <unistd.h>

#include <memory>

#include "app/cli/progress_line.h"
#include "app/cli/terminal.h"

namespace packhorse::cli {

Engine load_engine(EngineOptions options) {
  const auto line = std::make_shared<ProgressLine>();  // the engine keeps it for later work
  if (is_terminal(STDERR_FILENO)) {
    options.on_progress = [line](std::string_view what, uint64_t done, uint64_t total) {
      line->update(what, done, total);
    };
  }
  Engine engine(options);
  line->clear();
  line->count_things();  // what follows loading is texts to score
  for (const std::string& warning : engine.warnings()) write_stderr(fmt::format("warning: {}\n", warning));
  return engine;
}

}  // namespace packhorse::cli
