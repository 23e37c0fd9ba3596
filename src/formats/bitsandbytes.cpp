// Checkpoints that bitsandbytes quantized, for a Linear P of N x K weights:
//
//   4 bit   P.weight                  any dtype, ceil(N K / 2) bytes: byte i has code 2 i in its high, 2 i + 1 in its
//   low nibble
//           P.weight.absmax           F32, one per block of B consecutive weights of the flattened matrix; blocks cross
//           rows P.weight.quant_map        F32 [16], the table of the type P.weight.quant_state.bitsandbytes__nf4 (or
//           __fp4)   JSON text: blocksize, shape, ...
//     nested statistics: absmax is U8, and its value is quant_map'[absmax] * nested_absmax[block / 256] + nested_offset
//           P.weight.nested_absmax, P.weight.nested_quant_map [256]; nested_offset stands in the JSON
//   8 bit   P.weight I8 [N, K], P.SCB F32 [N] (largest magnitude of a row), P.weight_format U8 = 0 (row-major)

#include "formats/bitsandbytes.h"

#include <array>
#include <cmath>
#include <memory>

#include "base/checked_size.h"
#include "base/error.h"
#include "formats/source.h"

namespace packhorse {

Encoding bitsandbytes_4bit(const CodeTable& table, uint32_t block) {
  return {.element = Element::table,
          .bits = 4,
          .table = &table,
          .grouping = {GroupKind::flat, block},
          .scale = ScaleType::f32};
}

Encoding bitsandbytes_int8(float outlier_threshold) {
  return {.element = Element::integer,
          .bits = 8,
          .offset = 128,
          .factor = kInt8Factor,
          .grouping = {GroupKind::row, 0},
          .scale = ScaleType::f32,
          .act = {.code = ActScheme::Code::llm_int8, .product = kInt8Product, .outlier_threshold = outlier_threshold}};
}

namespace {

constexpr std::string_view kStateInfix = ".quant_state.bitsandbytes__";

std::string state_name(const Module& module, const CodeTable& table) {
  return fmt::format("{}{}{}", weight_name(module), kStateInfix, table.name);
}

/// Table of the module's quant_state; null when it has none.
const CodeTable* find_table(const CheckpointView& view, const Module& module) {
  for (const CodeTable* table : {&kNf4, &kFp4}) {
    if (view.find(state_name(module, *table))) return table;
  }
  return nullptr;
}

/// A 4-bit weight in its file.
struct FourBit {
  const CheckpointView* view = nullptr;
  Module module;
  Encoding encoding;
  const TensorInfo* codes = nullptr;
  const TensorInfo* absmax = nullptr;
  std::vector<float> nested_map;  // empty: absmax is float32
  std::vector<float> nested_absmax;
  uint32_t nested_block = 0;
  float nested_offset = 0;

  /// Scales of blocks [first, first + count).
  std::vector<float> block_scales(int64_t first, int64_t count) const;
  /// `count` rows of the file into the block rows from `at` on.
  void read_run(int64_t file_row, int64_t count, int64_t at, RowBlock& rows) const;
  void read(int64_t begin, int64_t count, RowBlock& rows) const;
};

std::vector<float> FourBit::block_scales(int64_t first, int64_t count) const {
  std::vector<float> scales(static_cast<size_t>(count));
  if (nested_map.empty()) {
    view->read(*absmax, static_cast<uint64_t>(first) * sizeof(float), std::as_writable_bytes(std::span(scales)));
    return scales;
  }
  std::vector<uint8_t> bytes(static_cast<size_t>(count));
  view->read(*absmax, static_cast<uint64_t>(first), std::as_writable_bytes(std::span(bytes)));
  decode_nested(bytes, first, nested_map, nested_absmax, nested_block, nested_offset, scales.data());
  return scales;
}

constexpr auto kNibblePairs = [] {
  std::array<std::array<uint8_t, 2>, 256> pairs{};
  for (size_t byte = 0; byte < 256; ++byte)
    pairs[byte] = {static_cast<uint8_t>(byte >> 4), static_cast<uint8_t>(byte & 15)};
  return pairs;
}();

/// n codes from packed bytes; with `skip_one` the first byte's high nibble belongs to the row before.
void unpack_nibbles(const uint8_t* packed, bool skip_one, int64_t n, uint8_t* codes) {
  if (skip_one && n > 0) {
    *codes++ = *packed++ & 15;
    --n;
  }
  for (int64_t i = 0; i < n / 2; ++i) {
    const auto& pair = kNibblePairs[packed[i]];
    codes[2 * i] = pair[0];
    codes[2 * i + 1] = pair[1];
  }
  if (n % 2) codes[n - 1] = packed[n / 2] >> 4;
}

void FourBit::read_run(int64_t file_row, int64_t count, int64_t at, RowBlock& rows) const {
  const int64_t first = file_row * module.k, end = first + count * module.k;  // codes
  std::vector<uint8_t> packed(static_cast<size_t>((end + 1) / 2 - first / 2));
  view->read(*codes, static_cast<uint64_t>(first / 2), std::as_writable_bytes(std::span(packed)));
  unpack_nibbles(packed.data(), first % 2 != 0, end - first, rows.codes.data() + at * module.k);

  const int64_t block = encoding.grouping.size, first_block = first / block;
  const std::vector<float> scales = block_scales(first_block, (end + block - 1) / block - first_block);
  spread_block_scales(scales.data(), first, rows.group_k, count * rows.n_groups, encoding.grouping.size,
                      rows.scale.data() + at * rows.n_groups);
}

void FourBit::read(int64_t begin, int64_t count, RowBlock& rows) const {
  rows.resize(encoding, begin, count, module.k);
  const auto file_row = [&](int64_t row) { return module.source_row ? module.source_row(row) : row; };
  for (int64_t at = 0; at < count;) {
    const int64_t first = file_row(begin + at);
    int64_t run = module.source_row ? 1 : count;
    while (at + run < count && file_row(begin + at + run) == first + run) ++run;
    read_run(first, run, at, rows);
    at += run;
  }
}

/// quant_state of a weight: JSON text in a U8 tensor.
Json read_state(const CheckpointView& view, const std::string& name) {
  constexpr uint64_t kMaxStateBytes = 1 << 16;
  const TensorInfo& tensor = view.at(name);
  if (tensor.dtype != DType::u8 || tensor.n_bytes > kMaxStateBytes) {
    fail_model("{}: expected at most {} bytes of JSON text (got {} of {})", view.describe(name), kMaxStateBytes,
               tensor.n_bytes, info(tensor.dtype).name);
  }
  std::string text(tensor.n_bytes, '\0');
  view.read(tensor, 0, std::as_writable_bytes(std::span(text)));
  try {
    return parse_json(text, "quant_state");
  } catch (const Error& error) {
    fail_model("{}: {}", view.describe(name), error.what());
  }
}

uint32_t block_size(const Json& state, std::string_view key, const std::string& where) {
  const Json* value = find_member(state, key);
  const auto size = value ? as_unsigned(*value) : std::nullopt;
  if (!size || !is_4bit_block(*size)) {
    fail_model("{}: {}: not a power of two in 32..4096 (got {})", where, key, value ? preview(*value) : "nothing");
  }
  return static_cast<uint32_t>(*size);
}

void check_state(const Json& state, const Module& module, const CodeTable& table, const std::string& where) {
  const Json* type = find_member(state, "quant_type");
  if (!type || *type != table.name) {
    fail_model("{}: quant_type: differs from the tensor's name (got {})", where, type ? preview(*type) : "nothing");
  }
  const Json* shape = find_member(state, "shape");
  if (!shape || *shape != Json::array({module.n, module.k})) {
    fail_model("{}: shape: does not fit the model (got {}, expected [{}, {}])", where,
               shape ? printable(shape->dump(-1, ' ', true, Json::error_handler_t::replace)) : "nothing", module.n,
               module.k);
  }
}

void check_table(const CheckpointView& view, const Module& module, const CodeTable& table) {
  const std::string name = weight_name(module) + ".quant_map";
  const std::vector<float> values = read_floats(view, tensor_of_size(view, name, DType::f32, std::size(table.values)));
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] == table.values[i]) continue;
    fail_model("{}: entry {} is not that of {} (got {}, expected {})", view.describe(name), i, table.name, values[i],
               table.values[i]);
  }
}

/// Reads the nested statistics, all but the codes of the blocks.
void load_nested(FourBit& weight, const Json& state, const std::string& where, uint64_t n_blocks) {
  const std::string name = weight_name(weight.module);
  weight.nested_block = block_size(state, "nested_blocksize", where);
  const Json* offset = find_member(state, "nested_offset");
  if (!offset || !offset->is_number() || !std::isfinite(offset->get<float>())) {
    fail_model("{}: nested_offset: not a finite number (got {})", where, offset ? preview(*offset) : "nothing");
  }
  weight.nested_offset = offset->get<float>();
  const uint64_t n_nested = (n_blocks + weight.nested_block - 1) / weight.nested_block;
  weight.nested_absmax =
      read_floats(*weight.view, tensor_of_size(*weight.view, name + ".nested_absmax", DType::f32, n_nested));
  weight.nested_map =
      read_floats(*weight.view, tensor_of_size(*weight.view, name + ".nested_quant_map", DType::f32, 256));
}

WeightPlan plan_4bit(const CheckpointView& view, const Module& module, const CodeTable& table) {
  const std::string name = weight_name(module), state_tensor = state_name(module, table),
                    where = view.describe(state_tensor);
  const Json state = read_state(view, state_tensor);
  check_state(state, module, table, where);
  const uint32_t block = block_size(state, "blocksize", where);

  auto weight = std::make_shared<FourBit>();
  weight->view = &view;
  weight->module = module;
  weight->encoding = bitsandbytes_4bit(table, block);
  const auto n_codes =
      (CheckedSize(static_cast<uint64_t>(module.n)) * CheckedSize(static_cast<uint64_t>(module.k))).get();
  weight->codes = &view.at(name);
  if (!n_codes || weight->codes->n_bytes != *n_codes / 2 + *n_codes % 2) {
    fail_model("{}: wrong size for 4-bit codes (got {} bytes for [{}, {}])", view.describe(name),
               weight->codes->n_bytes, module.n, module.k);
  }
  const uint64_t n_blocks = *n_codes / block + (*n_codes % block != 0);
  check_table(view, module, table);
  const std::string absmax_name = name + ".absmax";
  const bool nested = view.at(absmax_name).dtype == DType::u8;
  weight->absmax = &tensor_of_size(view, absmax_name, nested ? DType::u8 : DType::f32, n_blocks);
  if (nested) load_nested(*weight, state, where, n_blocks);

  return {
      .name = view.describe(name),
      .encoding = weight->encoding,
      .n = module.n,
      .k = module.k,
      .source_bytes = weight->codes->n_bytes + weight->absmax->n_bytes + weight->nested_absmax.size() * sizeof(float),
      .read = [weight = std::shared_ptr<const FourBit>(std::move(weight))](
                  int64_t begin, int64_t count, RowBlock& rows) { weight->read(begin, count, rows); }};
}

/// llm_int8_threshold of the checkpoint.
float outlier_threshold(const CheckpointView& view) {
  const Json* value = find_member(view.quantization_config, "llm_int8_threshold");
  if (!value) return kInt8OutlierThreshold;
  const float threshold = value->is_number() ? value->get<float>() : -1.0f;
  if (!(threshold >= 0) || std::isinf(threshold)) {
    fail_model("{}: llm_int8_threshold: not a number from 0 on (got {})", printable(view.path), preview(*value));
  }
  return threshold;
}

void check_row_major(const CheckpointView& view, const Module& module) {
  const std::string name = module.source + ".weight_format";
  if (!view.find(name)) return;  // written since 0.38
  uint8_t format = 0;
  view.read(tensor_of_size(view, name, DType::u8, 1), 0, std::as_writable_bytes(std::span(&format, 1)));
  if (format != 0) fail_model("{}: only row-major weights (0) are supported (got {})", view.describe(name), format);
}

WeightPlan plan_int8(const CheckpointView& view, const Module& module) {
  const std::string name = weight_name(module);
  const RowSource source(view, module, name);
  const TensorInfo& scale = tensor_of_size(view, module.source + ".SCB", DType::f32, static_cast<uint64_t>(module.n));
  check_row_major(view, module);
  const Encoding encoding = bitsandbytes_int8(outlier_threshold(view));
  // All scales are read at once: four bytes a row are nothing beside the row.
  auto scales = std::make_shared<const std::vector<float>>(read_floats(view, scale));
  return {
      .name = view.describe(name),
      .encoding = encoding,
      .n = module.n,
      .k = module.k,
      .source_bytes = source.tensor().n_bytes + scale.n_bytes,
      .read = [source, encoding, scales, source_row = module.source_row](int64_t begin, int64_t count, RowBlock& rows) {
        rows.resize(encoding, begin, count, source.k());
        source.read_into(begin, count, rows.codes.data());
        for (uint8_t& code : rows.codes) code ^= 0x80;
        for (int64_t r = 0; r < count; ++r) {
          const int64_t row = source_row ? source_row(begin + r) : begin + r;
          rows.scale[static_cast<size_t>(r)] = (*scales)[static_cast<size_t>(row)];
        }
      }};
}

bool is_int8(const CheckpointView& view, const Module& module) {
  const TensorInfo* weight = view.find(weight_name(module));
  return weight && weight->dtype == DType::i8 && view.find(module.source + ".SCB");
}

bool claims(const CheckpointView& view, const Module& module) {
  return find_table(view, module) || is_int8(view, module);
}

WeightPlan plan(const CheckpointView& view, const Module& module) {
  const CodeTable* table = find_table(view, module);
  return table ? plan_4bit(view, module, *table) : plan_int8(view, module);
}

Origin origin(const CheckpointView& view) {
  const Json* method = find_member(view.quantization_config, "quant_method");
  if (method) return *method == "bitsandbytes" ? Origin::quantized : Origin::other;
  for (const auto& [name, tensor] : view.tensors) {
    if (name.find(kStateInfix) != name.npos) return Origin::quantized;
  }
  return Origin::other;
}

}  // namespace

extern constexpr Format kBitsandbytes{.name = "bitsandbytes",
                                      .origin = origin,
                                      .claims = claims,
                                      .plan = plan,
                                      .check_in_flight = check_bitsandbytes_in_flight,
                                      .in_flight = bitsandbytes_in_flight,
                                      .settings = kBitsandbytesSettings};

}  // namespace packhorse
