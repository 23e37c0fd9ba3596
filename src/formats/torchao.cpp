// Checkpoints of TorchAO in safetensors. A weight of a tensor subclass is flattened: P.weight becomes a tensor
// P._weight_<field> for each field, and the file's __metadata__ has under "P.weight" a JSON text
//
//   {"_type": class, "_data": {attributes}, "_tensor_data_names": [fields]}
//
// in which enumerations and dtypes are {"_type": ..., "_data": name}. Each class is a row of kClasses; the layouts
// stand with the functions that read them.

#include "formats/torchao.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/error.h"
#include "formats/packing.h"
#include "formats/settings.h"

namespace packhorse {

std::string FlatTensor::text_of(const Json& object, const char* key) const {
  const Json* value = find_member(object, key);
  if (value && value->is_object()) value = find_member(*value, "_data");
  if (!value) return "";
  if (!value->is_string()) fail_model("{}.{}: expected a name (got {})", where, key, preview(*value));
  return value->get<std::string>();
}

std::pair<int64_t, int64_t> FlatTensor::block_size() const {
  const Json* value = find_member(attributes, "block_size");
  if (value && value->is_number()) return {1, whole_number(attributes, "block_size", 1, module.k, 1, where)};
  const auto fits = [](const Json& size, int64_t limit) {
    const auto number = as_unsigned(size);
    return number && *number > 0 && *number <= static_cast<uint64_t>(limit);
  };
  const bool is_pair = value && value->is_array() && value->size() == 2;
  if (!is_pair || !fits((*value)[0], module.n) || !fits((*value)[1], module.k)) {
    fail_model("{}.block_size: does not fit a matrix [{}, {}] (got {})", where, module.n, module.k,
               is_pair ? printable(value->dump())
               : value ? preview(*value)
                       : "nothing");
  }
  return {(*value)[0].get<int64_t>(), (*value)[1].get<int64_t>()};
}

Grouping FlatTensor::grouping() const { return torchao_groups(block_size().second, module.k); }

GroupValues FlatTensor::block_values(std::string_view field) const {
  const auto [rows, columns] = block_size();
  return {view, module, name(field), GroupValues::Order::blocks, (module.k + columns - 1) / columns, rows};
}

ReadRows<uint8_t> read_codes(const FlatTensor& flat, int bits, uint8_t flip) {
  Module bytes = flat.module;
  const int64_t k = bytes.k;
  bytes.k = (k * bits + 7) / 8;
  const std::string name = flat.name("qdata");
  const TensorInfo& tensor = flat.view.at(name);
  if (info(tensor.dtype).block_bytes != 1) {
    fail_model("{}: wrong dtype (got {}, expected one of a byte)", flat.view.describe(name), info(tensor.dtype).name);
  }
  return [source = RowSource(flat.view, bytes, name), bits, flip, k](int64_t begin, int64_t count, uint8_t* out) {
    const RowSource::Rows raw = source.read(begin, count);
    for (int64_t r = 0; r < count; ++r) unpack_stream(raw.row(r), bits, k, out + r * k);
    if (flip) std::for_each_n(out, count * k, [flip](uint8_t& code) { code ^= flip; });
  };
}

float read_one(const FlatTensor& flat, std::string_view field) {
  Module matrix = flat.module;
  matrix.source_row = {};
  float value = 0;
  GroupValues(flat.view, matrix, flat.name(field), GroupValues::Order::one, 1).read(0, 1, &value);
  if (!std::isfinite(value))
    fail_model("{}: not a finite number (got {})", flat.view.describe(flat.name(field)), value);
  return value;
}

namespace {

struct Class {
  std::string_view name;
  FlatWeight (*read)(const FlatTensor&);
};
constexpr Class kClasses[] = {
    {"Float8Tensor", read_float8},
    {"Int8Tensor", read_int8},
    {"Int4Tensor", read_int4},
    {"Int4TilePackedTo4dTensor", read_int4_tiles},
    {"IntxUnpackedToInt8Tensor", read_intx},
    {"MXTensor", read_mx},
    {"NVFP4Tensor", read_nvfp4},
};

/// What the metadata of the file with the weight's data, or else of any other shard, says about it.
FlatTensor flat_tensor(const CheckpointView& view, const Module& module) {
  const std::string name = weight_name(module);
  const TensorInfo& data = view.at(tensor_name(module, "_weight_qdata"));
  const Json* text = data.file < view.file_metadata.size() ? find_member(view.file_metadata[data.file], name) : nullptr;
  for (size_t i = 0; i < view.file_metadata.size() && !text; ++i) text = find_member(view.file_metadata[i], name);
  if (!text || !text->is_string()) {
    fail_model("{}: a flattened tensor without its class (no '{}' in __metadata__)",
               view.describe(tensor_name(module, "_weight_qdata")), printable(name));
  }
  const std::string where =
      fmt::format("{}: __metadata__.{}", printable(view.files[data.file].name()), printable(name));
  const Json json = parse_json(text->get_ref<const std::string&>(), where);
  const Json* type = find_member(json, "_type");
  const Json* attributes = find_member(json, "_data");
  if (!type || !type->is_string())
    fail_model("{}: _type: expected a name (got {})", where, type ? preview(*type) : "nothing");
  return {view, module, type->get<std::string>(), attributes && attributes->is_object() ? *attributes : Json::object(),
          where};
}

/// Finite scales, and numbers under codes of 8-bit floats.
void check_rows(const Encoding& encoding, const RowBlock& rows, const std::string& name) {
  const auto at = [&](int64_t i, int64_t columns, const char* what) {
    return fmt::format("{}: row {}, {} {}", name, rows.row_begin + i / columns, what, i % columns);
  };
  const auto bad = std::ranges::find_if_not(rows.scale, [](float s) { return std::isfinite(s); });
  if (bad != rows.scale.end())
    fail_model("{}: scale is no number (got {})", at(bad - rows.scale.begin(), rows.n_groups, "group"), *bad);
  if (encoding.element != Element::minifloat || encoding.bits != 8) return;
  const int limit = encoding.mantissa == kE5M2.mantissa ? 0x7c : 0x7f;
  const auto code = std::ranges::find_if(rows.codes, [limit](uint8_t c) { return (c & 0x7f) >= limit; });
  if (code != rows.codes.end())
    fail_model("{}: no finite number (code {:#04x})", at(code - rows.codes.begin(), rows.k, "column"), *code);
}

void read_rows(const FlatWeight& weight, const std::string& name, int64_t k, int64_t begin, int64_t count,
               RowBlock& rows) {
  rows.resize(weight.encoding, begin, count, k);
  weight.codes(begin, count, rows.codes.data());
  weight.scale(begin, count, rows.scale.data());
  if (weight.zero) weight.zero(begin, count, rows.zero.data());
  if (weight.min) weight.min(begin, count, rows.min.data());
  std::ranges::fill(rows.outer, weight.outer);
  check_rows(weight.encoding, rows, name);
}

/// The attribute `shape`, where it is there: the data may be larger.
void check_shape(const FlatTensor& flat) {
  const Json* shape = find_member(flat.attributes, "shape");
  if (!shape || *shape == Json{flat.module.n, flat.module.k}) return;
  fail_model("{}.shape: does not fit the model (got {}, expected [{}, {}])", flat.where, printable(shape->dump()),
             flat.module.n, flat.module.k);
}

uint64_t bytes_of(const CheckpointView& view, const Module& module) {
  const std::string prefix = tensor_name(module, "_weight_");
  uint64_t n_bytes = 0;
  for (auto field = view.tensors.lower_bound(prefix); field != view.tensors.end(); ++field) {
    if (!field->first.starts_with(prefix)) break;
    n_bytes += source_bytes(field->second, module);
  }
  return n_bytes;
}

WeightPlan plan(const CheckpointView& view, const Module& module) {
  const FlatTensor flat = flat_tensor(view, module);
  const auto found = std::ranges::find(kClasses, flat.type, &Class::name);
  if (found == std::end(kClasses)) {
    std::string known;
    for (const Class& c : kClasses) known += fmt::format("{}{}", known.empty() ? "" : ", ", c.name);
    fail_model("{}: _type: a class that cannot be read (got '{}', expected {})", flat.where, printable(flat.type),
               known);
  }
  check_shape(flat);
  WeightInput input;
  FlatWeight weight = found->read(flat);
  plan_activations(flat, weight.encoding.act, input);
  const std::string name = view.describe(flat.name("qdata"));
  const Encoding encoding = weight.encoding;
  return {
      .name = name,
      .encoding = encoding,
      .n = module.n,
      .k = module.k,
      .input = std::move(input),
      .source_bytes = bytes_of(view, module),
      .read = [weight = std::make_shared<const FlatWeight>(std::move(weight)), name, k = module.k](
                  int64_t begin, int64_t count, RowBlock& rows) { read_rows(*weight, name, k, begin, count, rows); }};
}

bool claims(const CheckpointView& view, const Module& module) {
  return view.find(tensor_name(module, "_weight_qdata"));
}

Origin origin(const CheckpointView& view) {
  return quant_method(view) == "torchao" ? Origin::quantized : Origin::other;
}

}  // namespace

extern constexpr Format kTorchAo{.name = "torchao",
                                 .origin = origin,
                                 .claims = claims,
                                 .plan = plan,
                                 .check_in_flight = check_torchao_in_flight,
                                 .in_flight = torchao_in_flight,
                                 .settings = kTorchAoSettings};

}  // namespace packhorse
