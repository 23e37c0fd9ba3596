// Checkpoints of NVIDIA ModelOpt. For a Linear P of N x K weights, by the dtype of its weight:
//
//   P.weight           F8_E4M3 [N, K]   with weight_scale float, one or [N]: FP8, FP8_PER_CHANNEL_PER_TOKEN
//                                       with weight_scale float [ceil(N / 128), ceil(K / 128)], also with dimensions of
//                                       1 between: FP8_PB_WO
//                                       with weight_scale E8M0 [N / r, K / 32] of blocks of r rows: MXFP8
//                      U8 [N, K / 2]    E2M1, even columns in the low nibble, with weight_scale F8_E4M3 [N, K / 16] and
//                                       weight_scale_2, one float that multiplies: NVFP4; or with weight_scale E8M0
//                                       [N, K / 32]: MXFP4
//                      U8 [N / 2, K]    int4 in two's complement, row 2 i in the low nibble and row 2 i + 1 in the high
//                                       one, with weight_scale float [N, G]: the AWQ family
//                      I8 [N, K]        with weight_scale float, one or [N]: W8A16
//   P.input_scale      float, one: FP8 and NVFP4
//   P.pre_quant_scale  float [K]: multiplies the input first
//
// Settings stand in config.json or in hf_quant_config.json, there under "quantization". quant_algo says what happens to
// activations; MIXED_PRECISION has one for each module or parent of modules in quantized_layers. Which modules are
// quantized, and how, is left to their tensors.

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "formats/act_schemes.h"
#include "formats/fp4_weight.h"
#include "formats/fp8_weight.h"
#include "formats/packing.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

// --- settings ---

enum class Act : uint8_t { none, fp8_static, fp8_token, nvfp4, mxfp8, refused };

struct Algo {
  std::string_view name;
  Act act;
};
constexpr Algo kAlgos[] = {
    {"fp8", Act::fp8_static},
    {"fp8_per_channel_per_token", Act::fp8_token},
    {"fp8_pb_wo", Act::none},
    {"fp8_block_scales", Act::none},
    {"mxfp8", Act::mxfp8},
    {"nvfp4", Act::nvfp4},
    {"nvfp4_awq", Act::nvfp4},
    {"w4a16_nvfp4", Act::none},
    {"w4a16_mxfp4", Act::none},
    {"w4a16_awq", Act::none},
    {"w8a16", Act::none},
    {"w4a8_nvfp4_fp8", Act::fp8_static},
    {"w4a8_mxfp4_fp8", Act::fp8_static},
    {"nvfp4_svd", Act::refused},
    {"w4a8_awq", Act::refused},
    {"w8a8_sq_per_channel", Act::refused},
    {"iq2_xs", Act::refused},
    {"iq2_xxs", Act::refused},
    {"q8_0", Act::refused},
};

bool is_producer(const CheckpointView& view) {
  const Json* producer = find_member(view.quantization_config, "producer");
  const Json* name = producer ? find_member(*producer, "name") : nullptr;
  return name && *name == "modelopt";
}

Origin origin(const CheckpointView& view) {
  const std::string method = quant_method(view);
  const bool is_own = method.starts_with("modelopt") || (method.empty() && is_producer(view));
  return is_own ? Origin::quantized : Origin::other;
}

struct Settings {
  const Json& json;
  std::string where;
};

Settings settings_of(const CheckpointView& view) {
  const Json* nested = find_member(view.quantization_config, "quantization");
  if (!nested) return {view.quantization_config, settings_name(view)};
  return {*nested, settings_name(view) + ".quantization"};
}

/// Settings of the module, or else of its nearest parent, in a mixed checkpoint; null when it is in no list.
const Json* find_layer(const Settings& settings, std::string path) {
  const Json* layers = find_member(settings.json, "quantized_layers");
  if (layers && !layers->is_object())
    fail_model("{}.quantized_layers: expected an object (got {})", settings.where, preview(*layers));
  while (layers && !path.empty()) {
    if (const Json* layer = find_member(*layers, path)) return layer;
    const size_t dot = path.rfind('.');
    path.resize(dot == path.npos ? 0 : dot);
  }
  return nullptr;
}

/// Activations of NVFP4 stay as they are when the settings of its only group leave them out.
bool quantizes_input(const Settings& settings) {
  const Json* groups = find_member(settings.json, "config_groups");
  if (!groups || !groups->is_object() || groups->empty()) return true;
  return std::ranges::any_of(*groups, [](const Json& group) { return find_member(group, "input_activations"); });
}

Act act_of(const CheckpointView& view, const Module& module) {
  Settings settings = settings_of(view);
  const Json* layer = nullptr;
  std::string algo = lower(text(settings.json, "quant_algo", "", settings.where));
  if (algo == "mixed_precision") {
    layer = find_layer(settings, module.name);
    const std::string where = fmt::format("{}.quantized_layers '{}'", settings.where, printable(module.name));
    algo = layer ? lower(text(*layer, "quant_algo", "", where)) : "";
  }
  if (algo.empty()) {  // quantized though no list has it: its own tensors tell
    if (!has_part(view, module, "input_scale")) return Act::none;
    return is_fp8(view, module) ? Act::fp8_static : Act::nvfp4;
  }
  const auto* row = std::ranges::find(kAlgos, algo, &Algo::name);
  if (row == std::end(kAlgos) || row->act == Act::refused) {
    fail_model("{}.quant_algo: '{}' is not supported (module '{}')", settings.where, printable(algo),
               printable(module.name));
  }
  if (row->act == Act::nvfp4 && !layer && !quantizes_input(settings)) return Act::none;
  return row->act;
}

void set_act(const CheckpointView& view, const Module& module, Encoding& encoding, WeightInput& input) {
  switch (act_of(view, module)) {
    case Act::none:
    case Act::refused:
      break;
    case Act::fp8_static:
      encoding.act = kFp8Static;
      input.act_scale = read_positive(view, module, "input_scale");
      break;
    case Act::fp8_token:
      encoding.act = fp8_dynamic();
      break;
    case Act::nvfp4:
      encoding.act = kNvfp4Act;
      input.act_scale = read_positive(view, module, "input_scale");
      break;
    case Act::mxfp8:
      encoding.act = mx_act(ActScheme::Code::fp8, ActScheme::Scale::power_ceil);
      break;
  }
  if (has_part(view, module, "pre_quant_scale")) input.scale = read_per_column(view, module, "pre_quant_scale");
}

// --- weights ---

/// Int4 with two rows in a row of bytes.
struct RowPairs {
  Encoding encoding;
  RowSource pairs;  // row r of the module stands in row r / 2, which this maps
  GroupValues scale;
  std::function<int64_t(int64_t)> source_row;
  int64_t k;

  void read(int64_t begin, int64_t count, RowBlock& rows) const {
    rows.resize(encoding, begin, count, k);
    const RowSource::Rows raw = pairs.read(begin, count);
    for (int64_t r = 0; r < count; ++r) {
      const int shift = (source_row ? source_row(begin + r) : begin + r) % 2 ? 4 : 0;
      const uint8_t* bytes = raw.row(r);
      uint8_t* codes = rows.codes.data() + r * k;
      for (int64_t i = 0; i < k; ++i) codes[i] = static_cast<uint8_t>((bytes[i] >> shift & 15) ^ 8);
    }
    scale.read(begin, count, rows.scale.data());
  }
};

WeightPlan plan_row_pairs(const CheckpointView& view, const Module& module) {
  const std::string name = weight_name(module), scale_name = tensor_name(module, "weight_scale");
  if (module.n % 2) fail_model("{}: pairs of rows cannot hold {} rows", view.describe(name), module.n);
  const TensorInfo& scale = view.at(scale_name);
  const auto n_groups =
      std::max<int64_t>(1, static_cast<int64_t>(n_elements_of(scale, module) / static_cast<uint64_t>(module.n)));
  if (module.k % n_groups) {
    fail_model("{}: {} scales per row do not divide {} columns (shape {})", view.describe(scale_name), n_groups,
               module.k, shape_text(scale));
  }
  Module pairs = module;
  pairs.n = module.n / 2;
  pairs.source_row = [row = module.source_row](int64_t r) { return (row ? row(r) : r) / 2; };
  const bool is_row = n_groups == 1;
  WeightPlan plan{.name = view.describe(name),
                  .encoding = {.element = Element::integer,
                               .bits = 4,
                               .offset = 8,
                               .grouping = {is_row ? GroupKind::row : GroupKind::along_k,
                                            static_cast<uint32_t>(is_row ? 0 : module.k / n_groups)},
                               .scale = scale_type(view, scale_name)},
                  .n = module.n,
                  .k = module.k,
                  .source_bytes = source_bytes(view.at(name), module) + source_bytes(scale, module)};
  set_act(view, module, plan.encoding, plan.input);
  const auto weight = std::make_shared<const RowPairs>(
      RowPairs{.encoding = plan.encoding,
               .pairs = RowSource(view, pairs, name),
               .scale = GroupValues(view, module, scale_name, GroupValues::Order::rows, n_groups),
               .source_row = module.source_row,
               .k = module.k});
  plan.read = [weight](int64_t begin, int64_t count, RowBlock& rows) { weight->read(begin, count, rows); };
  return plan;
}

CodedRows coded_rows(const CheckpointView& view, const Module& module) {
  const bool has_powers = part_is(view, module, "weight_scale", {DType::u8, DType::f8_e8m0});
  if (view.at(weight_name(module)).dtype == DType::i8) return int8_by_rows(view, module);
  if (!is_fp8(view, module)) return has_powers ? mxfp4() : nvfp4(Outer::multiply, "weight_scale_2");
  if (has_powers) return mxfp8(view, module);
  const uint64_t n_scales = n_elements_of(view.at(tensor_name(module, "weight_scale")), module);
  if (n_scales == 1 || n_scales == static_cast<uint64_t>(module.n)) return fp8_by_rows(view, module);
  return fp8_by_blocks(view, module, {128, 128});
}

WeightPlan plan(const CheckpointView& view, const Module& module) {
  const bool is_packed = part_is(view, module, "weight", {DType::u8});
  if (is_packed && part_is(view, module, "weight_scale", {DType::f32, DType::f16, DType::bf16}))
    return plan_row_pairs(view, module);
  CodedRows rows = coded_rows(view, module);
  set_act(view, module, rows.encoding, rows.input);
  return plan_coded_rows(view, module, std::move(rows));
}

bool claims(const CheckpointView& view, const Module& module) {
  return origin(view) == Origin::quantized &&
         part_is(view, module, "weight", {DType::f8_e4m3, DType::f8_e5m2, DType::u8, DType::i8});
}

constexpr std::string_view kAliases[] = {"modelopt_fp4", "modelopt_mixed", "modelopt_mxfp8", "petit_nvfp4"};
constexpr std::string_view kAlso[] = {"humming"};

}  // namespace

extern constexpr Format kModelopt{
    .name = "modelopt", .aliases = kAliases, .also = kAlso, .origin = origin, .claims = claims, .plan = plan};

}  // namespace packhorse
