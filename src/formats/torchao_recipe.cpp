// TorchAO's config classes: {"_type": class, "_version": 2, "_data": {arguments}}. Enumerations, dtypes and
// granularities among the arguments have the same form.

#include "formats/torchao_recipe.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "formats/settings.h"
#include "formats/torchao.h"

namespace packhorse {
namespace {

constexpr int64_t kMaxGroup = 1 << 30;
constexpr int64_t kMaxActGroup = 1 << 14;

// --- values ---

/// {"_type": ..., "_data": ...}.
struct Typed {
  std::string type;
  Json data;  // an object; empty where there is none
};

Typed typed(const Json& value, const std::string& where) {
  const Json* type = find_member(value, "_type");
  const Json* data = find_member(value, "_data");
  if (!type || !type->is_string())
    fail_model("{}._type: expected the name of a class (got {})", where, type ? preview(*type) : "nothing");
  if (data && !data->is_object()) fail_model("{}._data: expected an object (got {})", where, preview(*data));
  return {type->get<std::string>(), data ? *data : Json::object()};
}

/// Arguments of a config class.
struct Arguments {
  const Json& data;
  std::string where;

  /// Name of an enumeration's member or a dtype, in lower case.
  std::string name(const char* key, std::string_view missing) const {
    const Json* value = find_member(data, key);
    if (value && value->is_object()) value = find_member(*value, "_data");
    if (!value) return std::string(missing);
    if (!value->is_string()) fail_model("{}.{}: expected a name (got {})", where, key, preview(*value));
    return lower(value->get<std::string>());
  }
  /// As `name`, of which only some can be made.
  std::string one_of(const char* key, std::string_view missing, std::initializer_list<std::string_view> known) const {
    const std::string value = name(key, missing);
    if (std::ranges::find(known, value) != known.end()) return value;
    std::string names;
    for (const std::string_view other : known) names += fmt::format("{}{}", names.empty() ? "" : ", ", other);
    fail_model("{}.{}: cannot be made while loading (got '{}', expected {})", where, key, printable(value), names);
  }
  /// A bound of activations; 0 when it is absent.
  float bound(const char* key) const {
    const Json* value = find_member(data, key);
    if (!value) return 0;
    const float number = value->is_number() ? value->get<float>() : -1;
    if (!std::isfinite(number) || number <= 0)
      fail_model("{}.{}: expected a number above 0 (got {})", where, key, preview(*value));
    return number;
  }
};

/// Rows and columns per scale; 0 = all.
struct Granularity {
  std::string type;
  int64_t rows = 1, columns = 0;
  friend bool operator==(const Granularity&, const Granularity&) = default;
};
const Granularity kPerTensor{"PerTensor", 0, 0}, kPerRow{"PerRow", 1, 0};

Granularity granularity(const Json& value, const std::string& where, std::initializer_list<std::string_view> known) {
  const Typed g = typed(value, where);
  if (std::ranges::find(known, g.type) == known.end()) {
    std::string names;
    for (const std::string_view other : known) names += fmt::format("{}{}", names.empty() ? "" : ", ", other);
    fail_model("{}: cannot be made while loading (got {}, expected {})", where, printable(g.type), names);
  }
  if (g.type == "PerTensor") return kPerTensor;
  if (g.type == "PerGroup") return {g.type, 1, whole_number(g.data, "group_size", 1, kMaxGroup, 0, where)};
  if (g.type == "PerBlock") {
    const Json* sizes = find_member(g.data, "block_size");
    const auto size = [&](size_t i) {
      const auto number = sizes && sizes->is_array() && sizes->size() == 2 ? as_unsigned((*sizes)[i]) : std::nullopt;
      if (!number || *number == 0 || *number > static_cast<uint64_t>(kMaxActGroup))
        fail_model("{}.block_size: expected two sizes in 1..{}", where, kMaxActGroup);
      return static_cast<int64_t>(*number);
    };
    return {g.type, size(0), size(1)};
  }
  const bool is_axis = g.type == "PerAxis";
  const int64_t dim = whole_number(g.data, is_axis ? "axis" : "dim", -2, 1, is_axis ? 0 : -1, where);
  if (is_axis ? dim != 0 : dim != -1 && dim != 1)
    fail_model("{}: only a scale per row can be made while loading (got {} {})", where, g.type, dim);
  return kPerRow;
}

/// Argument `granularity` of activations and of weights: one for both, or a list of the two.
std::pair<Granularity, Granularity> granularities(const Arguments& a, const Granularity& missing,
                                                  std::initializer_list<std::string_view> known) {
  const Json* value = find_member(a.data, "granularity");
  const std::string where = a.where + ".granularity";
  if (!value) return {missing, missing};
  if (!value->is_array()) {
    const Granularity both = granularity(*value, where, known);
    return {both, both};
  }
  if (value->size() != 2) fail_model("{}: expected one or two (got {})", where, preview(*value));
  return {granularity((*value)[0], where, known), granularity((*value)[1], where, known)};
}

// --- classes ---

using Rule = TorchAoRecipe::Rule;

TorchAoRecipe int4_weight_only(const Arguments& a) {
  const int64_t group = whole_number(a.data, "group_size", 1, kMaxGroup, 128, a.where);
  const std::string format = a.one_of("int4_packing_format", "plain", {"plain", "tile_packed_to_4d"});
  a.one_of("int4_choose_qparams_algorithm", "tinygemm", {"tinygemm"});
  return {.rule = format == "plain" ? Rule::int4_rows : Rule::int4_tiles,
          .code = torchao_integers(4),
          .columns = group,
          .leaves_short_groups = true};
}

TorchAoRecipe float8_activation_int4_weight(const Arguments& a) {
  a.one_of("int4_packing_format", "preshuffled", {"plain"});
  return {.rule = Rule::int4_symmetric, .code = torchao_integers(4), .columns = 128, .act = kTorchAoFp8};
}

TorchAoRecipe int8_tensor(const Granularity& weight, const ActScheme& act) {
  return {
      .code = torchao_integers(8), .rows = weight.rows, .columns = weight.columns, .is_int8_tensor = true, .act = act};
}

TorchAoRecipe int8_weight_only(const Arguments& a) {
  if (const Json* group = find_member(a.data, "group_size"))
    fail_model("{}.group_size: expected null; granularity says it (got {})", a.where, preview(*group));
  const Json* value = find_member(a.data, "granularity");
  return int8_tensor(
      value ? granularity(*value, a.where + ".granularity", {"PerRow", "PerTensor", "PerGroup"}) : kPerRow, {});
}

TorchAoRecipe int8_activation_int8_weight(const Arguments& a) {
  if (flag(a.data, "reduce_range", false, a.where)) fail_model("{}.reduce_range: cannot be held (got true)", a.where);
  const auto [act, weight] = granularities(a, kPerRow, {"PerRow", "PerTensor"});
  const bool symmetric = a.one_of("act_mapping_type", "symmetric", {"symmetric", "asymmetric"}) == "symmetric";
  return int8_tensor(weight, symmetric ? kTorchAoInt8 : kTorchAoInt8Asymmetric);
}

Encoding float8_code(const Arguments& a) {
  return a.one_of("weight_dtype", "float8_e4m3fn", {"float8_e4m3fn", "float8_e5m2"}) == "float8_e5m2" ? kE5M2 : kE4M3;
}

TorchAoRecipe float8_weight_only(const Arguments& a) {
  const Json* value = find_member(a.data, "granularity");
  const Granularity weight =
      value ? granularity(*value, a.where + ".granularity", {"PerRow", "PerTensor", "PerGroup"}) : kPerRow;
  return {.rule = Rule::float8, .code = float8_code(a), .rows = weight.rows, .columns = weight.columns};
}

TorchAoRecipe float8_activation_float8_weight(const Arguments& a) {
  const auto [act, weight] = granularities(a, kPerTensor, {"PerRow", "PerTensor", "PerBlock"});
  const bool are_blocks = act == Granularity{"PerBlock", 1, 128} && weight == Granularity{"PerBlock", 128, 128};
  if (!are_blocks && (act != weight || act.type == "PerBlock")) {
    fail_model("{}.granularity: expected PerTensor or PerRow for both, or blocks of [1, 128] and [128, 128]", a.where);
  }
  a.one_of("packing_format", "plain", {"plain"});
  a.one_of("activation_dtype", "float8_e4m3fn", {"float8_e4m3fn"});
  ActScheme scheme = kTorchAoFp8;
  scheme.group = static_cast<uint16_t>(act.columns);
  scheme.smallest = a.bound("activation_value_lb") / scheme.divisor;
  scheme.limit = a.bound("activation_value_ub");
  return {.rule = Rule::float8,
          .code = float8_code(a),
          .rows = weight.rows,
          .columns = weight.columns,
          .act = scheme,
          .leaves_odd_shapes = true};
}

/// The arguments of the two classes of intx, which differ in their names and defaults.
TorchAoRecipe intx(const Arguments& a, const char* granularity_key, const Granularity& missing, const char* mapping_key,
                   const char* scale_key) {
  const std::string type = a.name("weight_dtype", "int8");
  if (type.size() != 4 || !type.starts_with("int") || type[3] < '1' || type[3] > '8')
    fail_model("{}.weight_dtype: expected int1 to int8 (got '{}')", a.where, printable(type));
  const Json* value = find_member(a.data, granularity_key);
  const Granularity weight =
      value ? granularity(*value, fmt::format("{}.{}", a.where, granularity_key), {"PerGroup", "PerAxis"}) : missing;
  const std::string mapping =
      a.one_of(mapping_key, "symmetric", {"symmetric", "asymmetric", "symmetric_no_clipping_err"});
  if (mapping == "symmetric_no_clipping_err" && type == "int1")
    fail_model("{}.{}: int1 has no value above 0 to scale to (got '{}')", a.where, mapping_key, mapping);
  a.one_of("intx_packing_format", "unpacked_to_int8", {"unpacked_to_int8"});
  a.one_of("intx_choose_qparams_algorithm", "affine", {"affine"});
  TorchAoRecipe recipe{.code = torchao_integers(type[3] - '0'), .columns = weight.columns};
  recipe.mapping = mapping == "symmetric"    ? TorchAoRecipe::Mapping::symmetric
                   : mapping == "asymmetric" ? TorchAoRecipe::Mapping::asymmetric
                                             : TorchAoRecipe::Mapping::no_clipping;
  if (find_member(a.data, scale_key)) {
    const std::string scale = a.one_of(scale_key, "", {"float32", "float16", "bfloat16"});
    recipe.scale_type = scale == "float32" ? Element::f32 : scale == "float16" ? Element::f16 : Element::bf16;
  }
  return recipe;
}

TorchAoRecipe intx_weight_only(const Arguments& a) {
  return intx(a, "granularity", kPerRow, "mapping_type", "scale_dtype");
}

TorchAoRecipe int8_activation_intx_weight(const Arguments& a) {
  a.one_of("act_mapping_type", "asymmetric", {"asymmetric"});
  TorchAoRecipe recipe =
      intx(a, "weight_granularity", {"PerGroup", 1, 32}, "weight_mapping_type", "weight_scale_dtype");
  recipe.act = kTorchAoInt8Asymmetric;
  return recipe;
}

struct Class {
  std::string_view name;
  TorchAoRecipe (*read)(const Arguments&);
  std::array<std::string_view, 11> arguments;  // the ones that say how something runs on a GPU included
};
constexpr Class kClasses[] = {
    {"Int4WeightOnlyConfig",
     int4_weight_only,
     {"group_size", "int4_packing_format", "int4_choose_qparams_algorithm", "int4_tile_packed_ntile",
      "set_inductor_config"}},
    {"Int8WeightOnlyConfig", int8_weight_only, {"group_size", "granularity", "set_inductor_config"}},
    {"Int8DynamicActivationInt8WeightConfig",
     int8_activation_int8_weight,
     {"granularity", "act_mapping_type", "reduce_range", "weight_only_decode", "set_inductor_config"}},
    {"Float8WeightOnlyConfig", float8_weight_only, {"weight_dtype", "granularity", "set_inductor_config"}},
    {"Float8DynamicActivationFloat8WeightConfig",
     float8_activation_float8_weight,
     {"weight_dtype", "activation_dtype", "granularity", "packing_format", "activation_value_lb", "activation_value_ub",
      "mm_config", "kernel_preference", "alg_id", "set_inductor_config"}},
    {"Float8DynamicActivationInt4WeightConfig", float8_activation_int4_weight, {"int4_packing_format"}},
    {"IntxWeightOnlyConfig",
     intx_weight_only,
     {"weight_dtype", "granularity", "mapping_type", "scale_dtype", "intx_packing_format",
      "intx_choose_qparams_algorithm"}},
    {"Int8DynamicActivationIntxWeightConfig",
     int8_activation_intx_weight,
     {"weight_dtype", "weight_granularity", "weight_mapping_type", "weight_scale_dtype", "act_mapping_type",
      "intx_packing_format", "intx_choose_qparams_algorithm"}},
};

}  // namespace

TorchAoRecipe torchao_recipe_of(const Json& config, const std::string& where) {
  const Typed object = typed(config, where);
  const auto found = std::ranges::find(kClasses, object.type, &Class::name);
  if (found == std::end(kClasses)) {
    std::string known;
    for (const Class& c : kClasses) known += fmt::format("{}, ", c.name);
    fail_model("{}._type: cannot be made while loading (got '{}', expected {}FqnToConfig)", where,
               printable(object.type), known);
  }
  if (whole_number(config, "_version", 0, 100, 2, where) != 2 &&
      !found->name.starts_with("Float8DynamicActivationInt4"))
    fail_model("{}._version: only classes of version 2 can be made (got {})", where, preview(config["_version"]));
  for (const auto& [key, value] : object.data.items()) {
    if (key != "version" && std::ranges::find(found->arguments, key) == found->arguments.end())
      fail_model("{}._data: {} has no argument '{}'", where, found->name, printable(key));
  }
  return found->read({object.data, where + "._data"});
}

}  // namespace packhorse
