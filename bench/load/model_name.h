#pragma once

#include <string>

#include "load/options.h"

namespace packhorse::load {

/// The first name of /v1/models. Throws std::exception when the server does not tell one.
std::string model_name(const Options& options);

}  // namespace packhorse::load
