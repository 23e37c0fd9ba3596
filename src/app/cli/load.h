#pragma once
// Opening a model from the command line.

#include <memory>

#include "app/cli/progress_line.h"
#include "packhorse/packhorse.h"

namespace packhorse::cli {

/// Shows the progress of loading in `line`, when standard error is a terminal; empty when it is none.
ProgressFn terminal_progress(std::shared_ptr<ProgressLine> line);
/// The engine, with a progress bar while it loads and scores when standard error is a terminal.
Engine load_engine(EngineOptions options);

}  // namespace packhorse::cli
