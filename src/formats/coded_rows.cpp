#include "formats/coded_rows.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "base/error.h"
#include "formats/packing.h"

namespace packhorse {
namespace {

DType code_dtype(const Encoding& encoding) {
  if (encoding.bits < 8) return DType::u8;
  if (encoding.element == Element::integer) return DType::i8;
  return encoding.mantissa == kE5M2.mantissa ? DType::f8_e5m2 : DType::f8_e4m3;
}

/// Reads codes of rows [begin, begin + count), one per byte as they are in the file.
using ReadCodes = std::function<void(int64_t begin, int64_t count, uint8_t* codes)>;

ReadCodes read_rows(const CheckpointView& view, const Module& module, const std::string& name, int bits,
                    int64_t row_lines) {
  if (module.k * bits % 8 != 0)
    fail_model("{}: rows of {} codes of {} bits do not fill whole bytes", view.describe(name), module.k, bits);
  Module bytes = module;
  bytes.k = module.k * bits / 8;
  const RowSource source = row_lines ? RowSource(view, bytes, name, row_lines) : RowSource(view, bytes, name);
  if (bits == 8) {
    return [source](int64_t begin, int64_t count, uint8_t* codes) { source.read_into(begin, count, codes); };
  }
  return [source, bits, k = module.k](int64_t begin, int64_t count, uint8_t* codes) {
    const RowSource::Rows raw = source.read(begin, count);
    for (int64_t r = 0; r < count; ++r) unpack_stream(raw.row(r), bits, k, codes + r * k);
  };
}

ReadCodes read_columns(const CheckpointView& view, const Module& module, const std::string& name) {
  const TensorInfo& tensor = module.n_experts ? tensor_of_shape(view, name, {module.n_experts, module.k, module.n})
                                              : tensor_of_shape(view, name, {module.k, module.n});
  return [whole = WholeTensor(view, tensor), first = module.expert * module.k * module.n, n = module.n, k = module.k,
          source_row = module.source_row](int64_t begin, int64_t count, uint8_t* codes) {
    const uint8_t* bytes = whole.bytes() + first;
    for (int64_t r = 0; r < count; ++r) {
      const uint8_t* column = bytes + (source_row ? source_row(begin + r) : begin + r);
      for (int64_t i = 0; i < k; ++i) *codes++ = column[i * n];
    }
  };
}

int64_t groups_per_row(const Grouping& grouping, int64_t k) {
  const int64_t size = group_along_row(grouping, k);
  return (k + size - 1) / size;
}

/// Magnitudes from here on are no numbers; 256 = all are. E4M3 has no infinities, E5M2 has.
int first_non_number(const Encoding& encoding) {
  if (encoding.element != Element::minifloat || encoding.bits != 8) return 256;
  return encoding.mantissa == kE5M2.mantissa ? 0x7c : 0x7f;
}

struct Coded {
  Encoding encoding;
  int64_t k;
  std::string codes_name, scale_name;
  ReadCodes codes;
  GroupValues scale;
  float outer;

  void read(int64_t begin, int64_t count, RowBlock& rows) const;
  void check_codes(const RowBlock& rows) const;
  void check_scales(const RowBlock& rows) const;
};

void Coded::check_codes(const RowBlock& rows) const {
  const int limit = first_non_number(encoding);
  if (limit > 255 || rows.codes.empty()) return;
  int largest = 0;
  for (const uint8_t code : rows.codes) largest = std::max(largest, code & 0x7f);
  if (largest < limit) return;
  const auto bad = std::ranges::find_if(rows.codes, [limit](uint8_t code) { return (code & 0x7f) >= limit; });
  const int64_t at = bad - rows.codes.begin();
  fail_model("{}: row {}, column {}: not a finite number (code {:#04x})", codes_name, rows.row_begin + at / k, at % k,
             *bad);
}

void Coded::check_scales(const RowBlock& rows) const {
  // A block of zeros may have the scale 0 where scales are so coarse that small ones round to it.
  const bool may_be_zero = encoding.scale == ScaleType::e4m3;
  const auto is_good = [&](float s) { return std::isfinite(s) && (s > 0 || (may_be_zero && s == 0)); };
  const auto bad = std::ranges::find_if_not(rows.scale, is_good);
  if (bad == rows.scale.end()) return;
  const int64_t at = bad - rows.scale.begin();
  fail_model("{}: scale of row {}, group {}: not a number above 0 (got {})", scale_name,
             rows.row_begin + at / rows.n_groups, at % rows.n_groups, *bad);
}

void Coded::read(int64_t begin, int64_t count, RowBlock& rows) const {
  rows.resize(encoding, begin, count, k);
  codes(begin, count, rows.codes.data());
  if (encoding.element == Element::integer)  // two's complement plus 128
    for (uint8_t& code : rows.codes) code ^= 0x80;
  check_codes(rows);
  scale.read(begin, count, rows.scale.data());
  check_scales(rows);
  std::ranges::fill(rows.outer, outer);
}

}  // namespace

WeightPlan plan_coded_rows(const CheckpointView& view, const Module& module, CodedRows rows) {
  const std::string codes_name = module.source + rows.joint + rows.codes;
  const std::string scale_name = module.source + rows.joint + rows.scale;
  const Encoding& encoding = rows.encoding;
  require_dtype(view, codes_name, code_dtype(encoding));
  const int64_t n_groups = groups_per_row(encoding.grouping, module.k);
  const auto coded = std::make_shared<const Coded>(Coded{
      .encoding = encoding,
      .k = module.k,
      .codes_name = view.describe(codes_name),
      .scale_name = view.describe(scale_name),
      .codes = rows.read_codes      ? rows.read_codes
               : rows.is_transposed ? read_columns(view, module, codes_name)
                                    : read_rows(view, module, codes_name, encoding.bits, rows.in_lines ? n_groups : 0),
      .scale = GroupValues(view, module, scale_name, rows.scale_order, n_groups, rows.block_rows),
      .outer = encoding.outer == Outer::none ? 0 : read_positive(view, module, rows.outer)});
  return {.name = coded->codes_name,
          .encoding = encoding,
          .n = module.n,
          .k = module.k,
          .input = std::move(rows.input),
          .source_bytes = source_bytes(view.at(codes_name), module) + source_bytes(coded->scale.tensor(), module),
          .read = [coded](int64_t begin, int64_t count, RowBlock& out) { coded->read(begin, count, out); }};
}

uint64_t n_elements_of(const TensorInfo& tensor, const Module& module) {
  return tensor.n_elements() / static_cast<uint64_t>(std::max<int64_t>(1, module.n_experts));
}

GroupValues::Order order_of_row_scales(const CheckpointView& view, const Module& module, std::string_view part) {
  const bool is_one = n_elements_of(view.at(tensor_name(module, part)), module) == 1;
  return is_one ? GroupValues::Order::one : GroupValues::Order::rows;
}

CodedRows int8_by_rows(const CheckpointView& view, const Module& module, std::string scale) {
  const auto order = order_of_row_scales(view, module, scale);
  return {.encoding = {.element = Element::integer,
                       .bits = 8,
                       .offset = 128,
                       .grouping = {GroupKind::row, 0},
                       .scale = ScaleType::f32},  // wide enough for all types of scales; one per row costs nothing
          .scale = std::move(scale),
          .scale_order = order};
}

float read_positive(const CheckpointView& view, const Module& module, std::string_view part) {
  const std::string name = tensor_name(module, part);
  float value = 0;
  Module matrix = module;
  matrix.source_row = {};
  GroupValues(view, matrix, name, GroupValues::Order::one, 1).read(0, 1, &value);
  if (!(std::isfinite(value) && value > 0)) fail_model("{}: not a number above 0 (got {})", view.describe(name), value);
  return value;
}

std::vector<float> read_per_column(const CheckpointView& view, const Module& module, std::string_view part) {
  Module row = module;
  row.n = 1;
  row.source_row = {};
  std::vector<float> out(static_cast<size_t>(module.k));
  GroupValues(view, row, tensor_name(module, part), GroupValues::Order::rows, module.k).read(0, 1, out.data());
  return out;
}

bool has_part(const CheckpointView& view, const Module& module, std::string_view part) {
  return view.find(tensor_name(module, part)) != nullptr;
}

bool part_is(const CheckpointView& view, const Module& module, std::string_view part,
             std::initializer_list<DType> types) {
  const TensorInfo* tensor = view.find(tensor_name(module, part));
  return tensor && std::ranges::find(types, tensor->dtype) != types.end();
}

}  // namespace packhorse
