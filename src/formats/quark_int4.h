#pragma once
// AMD Quark's packed int4 and uint4.

#include "formats/quark_settings.h"

namespace packhorse {

WeightPlan plan_quark_int4(const CheckpointView& view, const Module& module, const QuarkSpec& spec);

}  // namespace packhorse
