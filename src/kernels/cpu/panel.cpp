#include "kernels/cpu/panel.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/half.h"
#include "codec/row_block.h"

namespace packhorse {
namespace {

int64_t pair_bytes(const Encoding& e) {
  return e.scale == ScaleType::u4 ? 1 : scale_bytes(e.scale) + scale_bytes(e.min) + scale_bytes(e.zero);
}

void put_scale(ScaleType type, float value, uint8_t* at) {
  switch (type) {
    case ScaleType::none:
    case ScaleType::u4:
      return;
    case ScaleType::f32:
      std::memcpy(at, &value, 4);
      return;
    case ScaleType::f16: {
      const uint16_t bits = f32_to_f16(value);
      std::memcpy(at, &bits, 2);
      return;
    }
    case ScaleType::bf16: {
      const uint16_t bits = f32_to_bf16(value);
      std::memcpy(at, &bits, 2);
      return;
    }
    case ScaleType::u8:
      *at = static_cast<uint8_t>(value);
      return;
    case ScaleType::i8:
      *at = static_cast<uint8_t>(static_cast<int8_t>(value));
      return;
    case ScaleType::e8m0:
      *at = static_cast<uint8_t>(std::bit_cast<uint32_t>(value) >> 23);
      return;
    case ScaleType::e4m3:
      *at = f32_to_e4m3(value);
      return;
  }
}

/// Scales of one row into lane `lane` of the panel's stream; a null row block writes zeros.
void pack_scales(const Encoding& e, const RowBlock& rows, int64_t r, int64_t lane, uint8_t* out) {
  const auto at = [&](const std::vector<float>& v, int64_t per_row, int64_t i) {
    return r < rows.n_rows && !v.empty() ? v[static_cast<size_t>(r * per_row + i)] : 0.0f;
  };
  const int64_t width = scale_bytes(e.scale), min_width = scale_bytes(e.min);
  if (e.outer != Outer::none) {
    put_scale(ScaleType::f32, r < rows.n_rows ? rows.outer[static_cast<size_t>(r)] : 1.0f, out + lane * 4);
    out += kPanelRows * 4;
  }
  const int64_t groups_per_super = e.super_size ? e.super_size / rows.group_k : rows.n_groups;
  for (int64_t g = 0; g < rows.n_groups; ++g) {
    if (e.super_size && g % groups_per_super == 0) {
      put_scale(ScaleType::f16, at(rows.super_scale, rows.n_supers, g / groups_per_super), out + lane * 2);
      out += kPanelRows * 2;
      if (e.min != ScaleType::none) {
        put_scale(ScaleType::f16, at(rows.super_min, rows.n_supers, g / groups_per_super), out + lane * 2);
        out += kPanelRows * 2;
      }
    }
    const float scale = at(rows.scale, rows.n_groups, g), min = at(rows.min, rows.n_groups, g),
                zero = at(rows.zero, rows.n_groups, g);
    if (e.scale == ScaleType::u4) {
      out[lane] = static_cast<uint8_t>(static_cast<int>(scale) | static_cast<int>(min) << 4);
    } else {
      put_scale(e.scale, scale, out + lane * width);
      put_scale(e.min, min, out + kPanelRows * width + lane * min_width);
      put_scale(e.zero, zero, out + kPanelRows * (width + min_width) + lane * scale_bytes(e.zero));
    }
    out += kPanelRows * pair_bytes(e);
  }
}

/// 32 codes of one row into lane `lane` of a block.
void pack_codes(int bits, const uint8_t* code, int64_t lane, uint8_t* block) {
  int done = 0;  // bits already placed
  if (bits == 8) {
    for (int i = 0; i < kBlockK; ++i) block[64 * (i / 4) + lane * 4 + i % 4] = code[i];
    return;
  }
  if (bits >= 4) {
    for (int i = 0; i < 16; ++i) {
      block[64 * (i / 4) + lane * 4 + i % 4] = static_cast<uint8_t>((code[i] & 15) | (code[i + 16] & 15) << 4);
    }
    block += 256, done = 4;
  }
  if ((bits - done) & 2) {
    for (int i = 0; i < 8; ++i) {
      int byte = 0;
      for (int s = 0; s < 4; ++s) byte |= (code[i + 8 * s] >> done & 3) << 2 * s;
      block[64 * (i / 4) + lane * 4 + i % 4] = static_cast<uint8_t>(byte);
    }
    block += 128, done += 2;
  }
  if ((bits - done) & 1) {
    for (int i = 0; i < 4; ++i) {
      int byte = 0;
      for (int s = 0; s < 8; ++s) byte |= (code[i + 4 * s] >> done & 1) << s;
      block[lane * 4 + i] = static_cast<uint8_t>(byte);
    }
  }
}

/// The same for codes of 12 bits: the low 8, then the high 4.
void pack_wide_codes(const uint8_t* code, int64_t lane, uint8_t* block) {
  uint8_t low[kBlockK], high[kBlockK];
  for (int i = 0; i < kBlockK; ++i) low[i] = code[2 * i], high[i] = code[2 * i + 1];
  pack_codes(8, low, lane, block);
  pack_codes(4, high, lane, block + 512);
}

/// 32 / width entries of one row into lane `lane` of a block that was zero.
void pack_grid(const CodeGrid& grid, const uint8_t* entry, int64_t n_entries, int64_t lane, uint8_t* block) {
  const int entries = kBlockK / grid.width, extra = grid.index_bits - 8;
  uint8_t* high = block + kPanelRows * entries + lane * high_bytes(grid);
  uint8_t* signs = block + kPanelRows * (entries + high_bytes(grid));
  uint32_t high_bits = 0, negative = 0;
  for (int i = 0; i < n_entries; ++i, entry += kGridEntryBytes) {
    block[i / 4 * 64 + lane * 4 + i % 4] = entry[0];
    high_bits |= static_cast<uint32_t>(entry[1]) << (i * extra);
    negative |= static_cast<uint32_t>(entry[2]) << (i * grid.width);
  }
  std::memcpy(high, &high_bits, static_cast<size_t>(high_bytes(grid)));
  if (!grid.has_signs) return;
  for (int j = 0; j < 8; ++j)
    signs[j * 8 + lane / 2] |= static_cast<uint8_t>((negative >> (4 * j) & 15) << (lane % 2 * 4));
}

/// The code that decodes to zero, where there is one.
uint8_t zero_code(const Encoding& e) {
  if (e.element == Element::minifloat) return 0;
  if (e.element != Element::table) return static_cast<uint8_t>(e.offset);
  return static_cast<uint8_t>(std::find(e.table->values, e.table->values + 16, 0.0f) - e.table->values) & 15;
}

}  // namespace

UnitLayout panel_layout(const Encoding& e, int64_t k) {
  const int64_t blocks = (k + kBlockK - 1) / kBlockK;
  const int64_t group = group_along_row(e.grouping, k);
  UnitLayout layout{.rows_per_unit = kPanelRows};
  if (e.element == Element::grid)
    layout.code_bytes = blocks * grid_block_bytes(*e.grid);
  else
    layout.code_bytes = blocks * (is_float(e.element) ? kBlockK * kPanelRows * element_bytes(e.element) : 64 * e.bits);
  if (group) layout.scale_bytes = (k + group - 1) / group * kPanelRows * pair_bytes(e);
  if (e.super_size) layout.scale_bytes += k / e.super_size * kPanelRows * (e.min == ScaleType::none ? 2 : 4);
  if (e.outer != Outer::none) layout.scale_bytes += kPanelRows * 4;
  return layout;
}

namespace {

void pack_grid_panel(const Encoding& e, const RowBlock& rows, int64_t first_row, uint8_t* codes) {
  const int64_t n_entries = rows.k / e.grid->width, per_block = kBlockK / e.grid->width;
  std::memset(codes, 0, static_cast<size_t>(panel_layout(e, rows.k).code_bytes));
  for (int64_t lane = 0; lane < kPanelRows && first_row + lane < rows.n_rows; ++lane) {
    const uint8_t* row = rows.codes.data() + (first_row + lane) * n_entries * kGridEntryBytes;
    for (int64_t i = 0; i < n_entries; i += per_block) {
      pack_grid(*e.grid, row + i * kGridEntryBytes, std::min(per_block, n_entries - i), lane,
                codes + i / per_block * grid_block_bytes(*e.grid));
    }
  }
}

}  // namespace

void pack_panel(const Encoding& e, const RowBlock& rows, int64_t first_row, uint8_t* codes, uint8_t* scales) {
  const int64_t k = rows.k, width = e.element == Element::grid ? 1 : code_bytes(e, 1);
  const int64_t blocks = (k + kBlockK - 1) / kBlockK;
  uint8_t padded[kBlockK * 4];
  if (e.element == Element::grid) pack_grid_panel(e, rows, first_row, codes);
  for (int64_t lane = 0; lane < kPanelRows; ++lane) {
    const int64_t r = first_row + lane;
    const uint8_t* row = r < rows.n_rows ? rows.codes.data() + r * k * width : nullptr;
    for (int64_t b = 0; b < blocks && e.element != Element::grid; ++b) {
      const int64_t valid = row ? std::min(kBlockK, k - b * kBlockK) : 0;
      const uint8_t* source = valid > 0 ? row + b * kBlockK * width : nullptr;
      if (valid < kBlockK) {
        std::memset(padded, is_float(e.element) ? 0 : zero_code(e), sizeof padded);
        if (valid > 0) std::memcpy(padded, source, static_cast<size_t>(valid * width));
        source = padded;
      }
      if (e.bits == 12) {
        pack_wide_codes(source, lane, codes + b * 64 * e.bits);
        continue;
      }
      if (!is_float(e.element)) {
        pack_codes(e.bits, source, lane, codes + b * 64 * e.bits);
        continue;
      }
      // A lane holds 4 bytes of a row, or one f16 element.
      const int64_t run = e.element == Element::bf16 ? 4 : width;
      uint8_t* out = codes + b * kBlockK * kPanelRows * width + lane * run;
      for (int64_t i = 0; i < kBlockK * width / run; ++i)
        std::memcpy(out + i * kPanelRows * run, source + i * run, static_cast<size_t>(run));
    }
    if (rows.n_groups) pack_scales(e, rows, r, lane, scales);
  }
}

}  // namespace packhorse
