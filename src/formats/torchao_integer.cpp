// TorchAO's classes of integers. For N x K weights in groups of g columns:
//
//   Int8Tensor                qdata I8 [N, K]; scale float and zero_point I8 [N / b0, K / g]: w = (q - zero) scale
//   IntxUnpackedToInt8Tensor  the same with target_dtype int1 .. int8; zero_point I8 or float [N, K / g]
//   Int4Tensor                qdata I8 or U8 [N, K / 2], two's complement, even columns in the low halves; scale and
//                             zero_point float [K / g, N]: w = q scale + zero_point
//   Int4TilePackedTo4dTensor  qdata I32 [N' / 8, K' / (32 W), 32, W], N and K filled up; scale_and_zero BF16
//                             [K' / g, N', 2]: w = (u - 8) s + z. Word w of lane t in tile (i, j) holds row 8 i + t / 4
//                             and, with half byte p counted from the low bits, column 32 W j + 32 w + 2 (t mod 4) + 8
//                             (p mod 2) + 16 (p mod 4 / 2) + p / 4

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "formats/settings.h"
#include "formats/torchao.h"

namespace packhorse {
namespace {

ReadRows<float> values_of(GroupValues values) {
  return [values = std::move(values)](int64_t begin, int64_t count, float* out) { values.read(begin, count, out); };
}

/// I8 zero points of blocks, plus `offset`.
struct ByteZeros {
  WholeTensor tensor;
  int64_t block_rows, n_groups;
  int offset;
  std::function<int64_t(int64_t)> source_row;

  void read(int64_t begin, int64_t count, float* out) const {
    for (int64_t r = begin; r < begin + count; ++r) {
      const auto* row =
          reinterpret_cast<const int8_t*>(tensor.bytes()) + (source_row ? source_row(r) : r) / block_rows * n_groups;
      for (int64_t g = 0; g < n_groups; ++g) *out++ = static_cast<float>(row[g] + offset);
    }
  }
};

/// Adds the zero points, if there are any but 0. Codes and zero points stand there less the encoding's offset.
void plan_zeros(const FlatTensor& flat, FlatWeight& weight) {
  const TensorInfo* tensor = flat.find("zero_point");
  if (!tensor) return;
  if (is_plain_float(tensor->dtype)) {
    weight.encoding.zero = scale_type(flat.view, flat.name("zero_point"));
    weight.zero = values_of(flat.block_values("zero_point"));
    return;
  }
  const auto [rows, columns] = flat.block_size();
  const int64_t n_blocks = (flat.module.n + rows - 1) / rows, n_groups = (flat.module.k + columns - 1) / columns;
  const std::string name = flat.view.describe(flat.name("zero_point"));
  tensor_of_size(flat.view, flat.name("zero_point"), DType::i8, static_cast<uint64_t>(n_blocks * n_groups));
  const WholeTensor whole(flat.view, *tensor);
  const std::span zeros(reinterpret_cast<const int8_t*>(whole.bytes()), tensor->n_elements());
  const int middle = weight.encoding.offset;
  const auto bad = std::ranges::find_if(zeros, [middle](int8_t z) { return z < -middle || z >= middle; });
  if (bad != zeros.end()) fail_model("{}: not a value of {} bits (got {})", name, weight.encoding.bits, *bad);
  if (std::ranges::all_of(zeros, [](int8_t z) { return z == 0; })) return;
  weight.encoding.offset = 0;
  weight.encoding.zero = ScaleType::u8;
  weight.zero = [zero = ByteZeros{whole, rows, n_groups, middle, flat.module.source_row}](
                    int64_t begin, int64_t count, float* out) { zero.read(begin, count, out); };
}

FlatWeight read_bytes(const FlatTensor& flat, int bits) {
  require_dtype(flat.view, flat.name("qdata"), DType::i8);
  Encoding encoding = torchao_integers(bits);
  encoding.grouping = flat.grouping();
  encoding.scale = scale_type(flat.view, flat.name("scale"));
  FlatWeight weight{.encoding = encoding,
                    .codes = read_codes(flat, 8, 0x80),
                    .scale = values_of(flat.block_values("scale")),
                    .zero = {},
                    .min = {}};
  plan_zeros(flat, weight);
  return weight;
}

}  // namespace

FlatWeight read_int8(const FlatTensor& flat) { return read_bytes(flat, 8); }

FlatWeight read_intx(const FlatTensor& flat) {
  const std::string type = flat.text_of(flat.attributes, "target_dtype");
  if (type.size() != 4 || !type.starts_with("int") || type[3] < '1' || type[3] > '8')
    fail_model("{}.target_dtype: expected int1 to int8 (got '{}')", flat.where, printable(type));
  const int bits = type[3] - '0', low = 128 - (1 << (bits - 1));
  FlatWeight weight = read_bytes(flat, bits);
  weight.codes = [bytes = weight.codes, name = flat.view.describe(flat.name("qdata")), bits, low, k = flat.module.k](
                     int64_t begin, int64_t count, uint8_t* out) {
    bytes(begin, count, out);
    for (int64_t i = 0; i < count * k; ++i) {
      if (out[i] < low || out[i] - low >= 1 << bits)
        fail_model("{}: not a value of {} bits (got {})", name, bits, out[i] - 128);
      out[i] = static_cast<uint8_t>(out[i] - low);
    }
  };
  return weight;
}

FlatWeight read_int4(const FlatTensor& flat) {
  Encoding encoding = torchao_integers(4);
  encoding.grouping = flat.grouping();
  const int64_t size = flat.block_size().second, n_groups = (flat.module.k + size - 1) / size;
  encoding.scale = scale_type(flat.view, flat.name("scale"));
  const auto columns = [&](const char* field) {
    return values_of(GroupValues(flat.view, flat.module, flat.name(field), GroupValues::Order::columns, n_groups));
  };
  if (flat.find("zero_point")) encoding.min = scale_type(flat.view, flat.name("zero_point"));
  return {.encoding = encoding,
          .codes = read_codes(flat, 4, 8),
          .scale = columns("scale"),
          .zero = {},
          .min = flat.find("zero_point") ? columns("zero_point") : ReadRows<float>{}};
}

namespace {

/// Weights in the tiles of tinygemm.
struct Tiles {
  const CheckpointView* view;
  const TensorInfo* tensor;
  int64_t k, n_padded, n_tiles, words;  // tiles and words per lane of one row of tiles
  int64_t n_groups;
  WholeTensor scale_and_zero;
  std::function<int64_t(int64_t)> source_row;

  int64_t row_of(int64_t r) const { return source_row ? source_row(r) : r; }
  void read_codes(int64_t begin, int64_t count, uint8_t* out) const;
  void read_values(int64_t begin, int64_t count, int which, float* out) const;
};

void Tiles::read_codes(int64_t begin, int64_t count, uint8_t* out) const {
  std::vector<uint32_t> lanes(static_cast<size_t>(n_tiles * 32 * words));  // of eight rows
  int64_t have = -1;
  for (int64_t r = begin; r < begin + count; ++r, out += k) {
    const int64_t row = row_of(r);
    if (row / 8 != have) {
      have = row / 8;
      view->read(*tensor, static_cast<uint64_t>(have) * lanes.size() * 4, std::as_writable_bytes(std::span(lanes)));
    }
    for (int64_t column = 0; column < k; ++column) {
      const int64_t tile = column / (32 * words), in_word = column % 32;
      const int64_t lane = row % 8 * 4 + in_word % 8 / 2, place = in_word / 8 + in_word % 2 * 4;
      const uint32_t word = lanes[static_cast<size_t>((tile * 32 + lane) * words + column % (32 * words) / 32)];
      out[column] = word >> (4 * place) & 15;
    }
  }
}

void Tiles::read_values(int64_t begin, int64_t count, int which, float* out) const {
  for (int64_t r = begin; r < begin + count; ++r) {
    for (int64_t g = 0; g < n_groups; ++g) {
      uint16_t value;
      std::memcpy(&value, scale_and_zero.bytes() + ((g * n_padded + row_of(r)) * 2 + which) * 2, 2);
      *out++ = bf16_to_f32(value);
    }
  }
}

int64_t dim(const TensorInfo& tensor, size_t i) {
  return static_cast<int64_t>(std::min<uint64_t>(tensor.shape[i], INT32_MAX));
}

}  // namespace

FlatWeight read_int4_tiles(const FlatTensor& flat) {
  const Module& module = flat.module;
  const TensorInfo& codes = flat.view.at(flat.name("qdata"));
  const TensorInfo& values = flat.view.at(flat.name("scale_and_zero"));
  const auto reject = [&] {
    fail_model("{}: shapes do not fit a matrix [{}, {}] in tiles (got qdata {} {}, scale_and_zero {} {})",
               flat.view.describe(flat.name("qdata")), module.n, module.k, info(codes.dtype).name, shape_text(codes),
               info(values.dtype).name, shape_text(values));
  };
  if (codes.shape.size() != 4 || values.shape.size() != 3 || module.n_experts) reject();
  const int64_t words = dim(codes, 3), size = flat.block_size().second;
  const int64_t n_padded = dim(codes, 0) * 8, k_padded = dim(codes, 1) * 32 * words;
  const bool fits = codes.dtype == DType::i32 && values.dtype == DType::bf16 && dim(codes, 2) == 32 &&
                    (words == 1 || words == 2 || words == 4) && n_padded >= module.n && k_padded >= module.k &&
                    dim(values, 0) == (k_padded + size - 1) / size && dim(values, 1) == n_padded && dim(values, 2) == 2;
  if (!fits) reject();
  Encoding encoding = torchao_integers(4);
  encoding.grouping = flat.grouping();
  encoding.scale = encoding.min = ScaleType::bf16;
  const Tiles tiles{.view = &flat.view,
                    .tensor = &codes,
                    .k = module.k,
                    .n_padded = n_padded,
                    .n_tiles = dim(codes, 1),
                    .words = words,
                    .n_groups = (module.k + size - 1) / size,
                    .scale_and_zero = WholeTensor(flat.view, values),
                    .source_row = module.source_row};
  const auto part = [tiles](int which) -> ReadRows<float> {
    return [tiles, which](int64_t begin, int64_t count, float* out) { tiles.read_values(begin, count, which, out); };
  };
  return {.encoding = encoding,
          .codes = [tiles](int64_t begin, int64_t count, uint8_t* out) { tiles.read_codes(begin, count, out); },
          .scale = part(0),
          .zero = {},
          .min = part(1)};
}

}  // namespace packhorse
