#pragma once
// Opening a model from the command line.

#include "packhorse/packhorse.h"

namespace packhorse::cli {

/// The engine, with a line of progress while it loads when standard error is a terminal.
Engine load_engine(EngineOptions options);

}  // namespace packhorse::cli
