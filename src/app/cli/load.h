#pragma once
// Opening a model from the command line.

#include "packhorse/packhorse.h"

namespace packhorse::cli {

/// The engine, with a progress bar while it loads and scores when standard error is a terminal.
Engine load_engine(EngineOptions options);

}  // namespace packhorse::cli
