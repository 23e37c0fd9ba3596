#pragma once
// Models by repo id: from the hub cache, else downloaded into it.

#include <string>

#include "engine/hub/choose_files.h"
#include "engine/hub/reference.h"
#include "engine/hub/settings.h"

namespace packhorse::hub {

/// Folder or .gguf file in the hub cache. Nothing is asked of the hub when all that is needed is there already. Throws
/// Error{model} for what the hub does not have or give, Error{io} when it cannot be reached.
std::string fetch(const Reference& reference, Need need, const Settings& settings);

}  // namespace packhorse::hub
