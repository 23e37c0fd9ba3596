#pragma once
// How many positions a model can be run with.

#include <cstdint>

#include "nn/config.h"

namespace packhorse {

/// Length to run with: `requested`, or the model's own limit when that is 0. Error{usage} with both numbers when the
/// model's limit is exceeded; models with dynamic rope scaling have none.
int64_t context_length(const Config& config, int64_t requested);

}  // namespace packhorse
