#pragma once
// What a TorchAO config object asks for, for one weight.

#include <optional>
#include <string>

#include "formats/format.h"

namespace packhorse {

struct TorchAoRecipe {
  enum class Rule : uint8_t {
    affine,          // whole numbers and a scale, computed in the weight's own type
    int4_rows,       // MSLK's int4: float32, and the group's minimum is kept
    int4_symmetric,  // the same without a minimum, for float8 activations
    int4_tiles,      // tinygemm's: bfloat16, and the group's minimum is kept
    float8,
  };
  enum class Mapping : uint8_t { symmetric, asymmetric, no_clipping };

  Rule rule = Rule::affine;
  Encoding code;                  // element and bits; the rest depends on the weight
  int64_t rows = 1, columns = 0;  // per scale; 0 = all
  Mapping mapping = Mapping::symmetric;
  bool is_int8_tensor = false;                       // the scale is kept as float32 and is at least 2^-23
  std::optional<Element> scale_type = std::nullopt;  // affine: another than the weight's own
  ActScheme act = {};
  bool leaves_short_groups = false;  // weights whose rows are no whole groups stay as they are
  bool leaves_odd_shapes = false;    // and weights whose sides are no multiples of 16
};

/// What one object of a config class asks for; `where` names it. Throws Error{model}, as the readers of settings.h.
TorchAoRecipe torchao_recipe_of(const Json& config, const std::string& where);

/// For the module of this name; nothing where the settings leave it out. Throws Error{usage}, or Error{model} as the
/// readers of settings.h do.
std::optional<TorchAoRecipe> torchao_recipe(const Json& config, const std::string& module);

}  // namespace packhorse
