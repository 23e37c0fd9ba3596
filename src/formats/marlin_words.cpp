#include "formats/marlin_words.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "formats/affine_words.h"

namespace packhorse {

void unpack_marlin(const uint8_t* packed, int bits, bool sparse, int64_t n, int64_t k, int64_t column, uint8_t* codes) {
  const int64_t c = column % 64;
  const int64_t half = sparse ? c % 8 / 4 : c % 16 / 8;  // c or c'
  const int64_t lane = sparse ? c / 8 * 4 : c % 8 * 4;   // of the row 0; lanes lane + 1.. hold rows 2..
  const int64_t j = sparse ? c % 4 : c / 16;
  const int64_t row_bytes = n * bits * 2, block = column / 64 * 128 * bits;
  for (int64_t k0 = 0; k0 < k; k0 += 16, packed += row_bytes) {
    for (int64_t q = 0; q < 4; ++q) {
      const int64_t pair = 4 * (lane + q) + j;
      uint32_t word;
      std::memcpy(&word, packed + block + (bits == 4 ? pair : 2 * pair + half) * 4, 4);
      uint8_t* out = codes + k0 + 2 * q;
      if (bits == 4) {
        word >>= 8 * half;
        out[0] = word & 15, out[8] = word >> 4 & 15, out[1] = word >> 16 & 15, out[9] = word >> 20 & 15;
      } else {
        out[0] = word & 255, out[8] = word >> 8 & 255, out[1] = word >> 16 & 255, out[9] = word >> 24 & 255;
      }
    }
  }
}

namespace {

/// Place of the 16 bits of metadata of row r (a column of B) and 16-column c in the tensor, in the order of the sparse
/// tensor cores (CUTLASS's ColumnMajorInterleaved<2>).
int64_t meta_place(int64_t n, int64_t r, int64_t c) {
  int64_t row = r / 64 * 64 + r % 2 * 2 + r % 8 / 4 + r % 32 % 4 / 2 * 32 + r % 64 / 8 * 4;
  if (row % 2 == 0 && c % 2 == 1)
    ++row, --c;
  else if (row % 2 == 1 && c % 2 == 0)
    --row, ++c;
  return c / 2 * n * 2 + row * 2 + c % 2;
}

}  // namespace

bool expand_24(const uint8_t* meta, int64_t n, int64_t k, int64_t column, const uint8_t* kept, uint8_t fill,
               uint8_t* codes) {
  std::fill_n(codes, k, fill);
  for (int64_t c = 0; c < k / 16; ++c) {
    uint16_t word;
    std::memcpy(&word, meta + 2 * meta_place(n, column, c), 2);
    for (int64_t quad = 0; quad < 4; ++quad, word >>= 4, kept += 2, codes += 4) {
      const int first = word & 3, second = word >> 2 & 3;
      if (first >= second) return false;
      codes[first] = kept[0], codes[second] = kept[1];
    }
  }
  return true;
}

int64_t marlin_scale_column(MarlinScales order, int64_t column) {
  switch (order) {
    case MarlinScales::grouped:
      return column / 64 * 64 + column % 8 * 8 + column % 64 / 8;
    case MarlinScales::whole:
      return column / 32 * 32 + column % 8 / 2 * 8 + column % 32 / 8 * 2 + column % 2;
    case MarlinScales::sparse:
      return column / 8 * 8 + column % 4 * 2 + column % 8 / 4;
    case MarlinScales::unchanged:
      break;
  }
  return column;
}

namespace {

MarlinScales scale_order(bool sparse, int64_t k, int64_t n_groups) {
  if (!sparse) return n_groups > 1 ? MarlinScales::grouped : MarlinScales::whole;
  return k / n_groups < k / 2 ? MarlinScales::sparse : MarlinScales::unchanged;  // as the tool compares
}

/// A module's tensors, checked.
struct Tiles {
  int bits = 4;
  int64_t n, k, n_groups;
  bool sparse;
  std::string name, meta_name;
  WholeTensor codes;
  std::optional<WholeTensor> meta;

  void read(std::span<const int64_t> rows, uint8_t* out) const;
};

void Tiles::read(std::span<const int64_t> rows, uint8_t* out) const {
  std::vector<uint8_t> kept(static_cast<size_t>(sparse ? k / 2 : 0));
  for (const int64_t row : rows) {
    unpack_marlin(codes.bytes(), bits, sparse, n, sparse ? k / 2 : k, row, sparse ? kept.data() : out);
    const auto zero = static_cast<uint8_t>(1 << (bits - 1));
    if (sparse && !expand_24(meta->bytes(), n, k, row, kept.data(), zero, out))
      fail_model("{}: column {}: not metadata of 2:4 sparse weights", meta_name, row);
    out += k;
  }
}

Tiles check_tiles(const CheckpointView& view, const Module& module, const MarlinParts& parts, WordSettings settings) {
  const bool sparse = !parts.meta.empty();
  const std::string name = tensor_name(module, parts.codes), meta = tensor_name(module, parts.meta);
  const auto reject = [&] {
    if (sparse) reject_words(view, module, settings, {parts.codes, parts.meta, parts.scale});
    reject_words(view, module, settings, {parts.codes, parts.scale});
  };
  require_dtype(view, name, DType::i32);
  if (sparse) require_dtype(view, meta, DType::i16);
  const TensorInfo& words = view.at(name);
  const TensorInfo& scales = view.at(tensor_name(module, parts.scale));
  const int64_t n = module.n, k = module.k, tile = sparse ? 32 : 16;
  if (!settings.bits) settings.bits = has_shape(words, {k / tile, 4 * n}) ? 8 : 4;
  const int64_t n_groups = scales.shape.size() == 2 && scales.shape[0] <= static_cast<uint64_t>(k)
                               ? static_cast<int64_t>(scales.shape[0])
                               : 0;
  const bool fits = (settings.bits == 4 || settings.bits == 8) && n % 64 == 0 && k % tile == 0 &&
                    has_shape(words, {k / tile, n * settings.bits / 2}) && has_shape(scales, {n_groups, n}) &&
                    (!sparse || has_shape(view.at(meta), {k / 32, 2 * n}));
  if (!fits) reject();
  if (n_groups < 1 || k % n_groups != 0) reject();
  if (settings.group_size > 0 && n_groups != (k + settings.group_size - 1) / settings.group_size) reject();
  if (settings.group_size == -1 && n_groups != 1) reject();
  return {.bits = static_cast<int>(settings.bits),
          .n = n,
          .k = k,
          .n_groups = n_groups,
          .sparse = sparse,
          .name = view.describe(name),
          .meta_name = sparse ? view.describe(meta) : "",
          .codes = WholeTensor(view, words),
          .meta = sparse ? std::optional(WholeTensor(view, view.at(meta))) : std::nullopt};
}

}  // namespace

WeightPlan plan_marlin_words(const CheckpointView& view, const Module& module, const MarlinParts& parts,
                             const WordSettings& settings) {
  const Tiles tiles = check_tiles(view, module, parts, settings);
  const std::string scale = tensor_name(module, parts.scale);
  Module scale_rows = module;
  scale_rows.source_row = [order = scale_order(tiles.sparse, tiles.k, tiles.n_groups), source_row = module.source_row](
                              int64_t r) { return marlin_scale_column(order, source_row ? source_row(r) : r); };
  return plan_affine_words(
      module, {.codes_name = tiles.name,
               .scale_name = view.describe(scale),
               .bits = tiles.bits,
               .groups = even_groups(tiles.k / tiles.n_groups, tiles.k),
               .n_groups = tiles.n_groups,
               .scale_type = float_scale_type(view, scale),
               .scale = GroupValues(view, scale_rows, scale, GroupValues::Order::columns, tiles.n_groups),
               .source_bytes = bytes_of(view, module, {parts.codes, parts.scale}) +
                               (tiles.sparse ? bytes_of(view, module, {parts.meta}) : 0),
               .read_codes = [tiles](std::span<const int64_t> rows, uint8_t* codes) { tiles.read(rows, codes); }});
}

}  // namespace packhorse
