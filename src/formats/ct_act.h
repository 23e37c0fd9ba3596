#pragma once
// How compressed-tensors quantizes the inputs of a module.

#include <string>

#include "formats/format.h"

namespace packhorse::ct {

/// From "input_activations" of a group; `where` names it in messages. Throws Error{model} for what is not supported.
ActScheme act_scheme(const Json& settings, const std::string& where);

/// What the scheme needs from the module's tensors: input_scale, input_zero_point, input_global_scale. Throws
/// Error{model}: missing, of another shape, or not above 0.
WeightInput read_input(const CheckpointView& view, const Module& module, const ActScheme& act);

}  // namespace packhorse::ct
