#pragma once
// Settings of AMD Quark: specifications of a weight and of its input, for one module.

#include <string>
#include <vector>

#include "formats/format.h"

namespace packhorse {

/// One level of a quantization.
struct QuarkSpec {
  std::string dtype;    // "fp8_e4m3", "int4", "fp4" ...
  std::string qscheme;  // per_tensor, per_channel, per_group, per_block
  int64_t group = 0;    // columns per scale; 0 = none said
  int64_t rows = 1;     // of a block
  bool is_dynamic = false;
  bool symmetric = true;
  bool power_scales = false;  // E8M0
  std::string power_rule;     // how their exponent is found: "even", "floor", "ceil"
  std::string where;          // for messages
};

/// What the settings say about a module. Empty lists: not quantized.
struct QuarkScheme {
  std::vector<QuarkSpec> weight, input;
  std::string where;  // of the object that applies
};

/// The settings of a module: by its name, else by its class, else the global ones. Throws Error{model}.
QuarkScheme quark_scheme(const CheckpointView& view, const Module& module);

}  // namespace packhorse
