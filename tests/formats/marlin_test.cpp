#include "formats/marlin_words.h"
#include "words_testing.h"

namespace packhorse {
namespace {

using testing::Affine;
using ::testing::HasSubstr;
using testing::module_of;
using testing::random_affine;

// Written as the tools write: tiles of 16 x 16 codes, every 1024 of them in one order, then packed into words.

/// Where each of 1024 codes comes from, before the order within a word.
std::vector<int> tile_order(bool sparse) {
  std::vector<int> order;
  for (int lane = 0; lane < 32; ++lane) {
    for (int j = 0; j < 4; ++j) {
      for (int block = 0; block < 2; ++block) {
        for (const int row : {2 * (lane % 4), 2 * (lane % 4) + 1, 2 * (lane % 4) + 8, 2 * (lane % 4) + 9}) {
          order.push_back(sparse ? 16 * row + lane / 8 * 256 + lane / 4 % 2 * 8 + 4 * block + j
                                 : 16 * row + lane / 4 + 8 * block + 256 * j);
        }
      }
    }
  }
  return order;
}

/// B of codes [k][n].
std::vector<uint32_t> pack_tiles(const std::vector<std::vector<int>>& codes, int bits, bool sparse) {
  const size_t k = codes.size(), n = codes[0].size();
  std::vector<int> tiled;
  for (size_t k0 = 0; k0 < k; k0 += 16) {
    for (size_t n0 = 0; n0 < n; n0 += 16) {
      for (size_t i = 0; i < 256; ++i) tiled.push_back(codes[k0 + i / 16][n0 + i % 16]);
    }
  }
  const std::vector<int> order = tile_order(sparse);
  const std::vector<int> in_word = bits == 4 ? std::vector<int>{0, 2, 4, 6, 1, 3, 5, 7} : std::vector<int>{0, 2, 1, 3};
  const size_t per_word = in_word.size();
  std::vector<uint32_t> words(tiled.size() / per_word);
  for (size_t i = 0; i < tiled.size(); ++i) {
    const size_t from = i / per_word * per_word + static_cast<size_t>(in_word[i % per_word]);
    const size_t at = i / 1024 * 1024 + static_cast<size_t>(order[from % 1024]);
    testing::put_bits(words, static_cast<int64_t>(i) * bits, bits, tiled[at]);
  }
  return words;
}

/// Scales [n_groups, n] with each run of order.size() columns in another order.
std::vector<uint16_t> reorder(const std::vector<uint16_t>& scales, const std::vector<int>& order) {
  std::vector<uint16_t> out(scales.size());
  for (size_t i = 0; i < scales.size(); ++i)
    out[i] = scales[i / order.size() * order.size() + static_cast<size_t>(order[i % order.size()])];
  return out;
}

const std::vector<int> kWholeOrder = {0, 1, 8,  9,  16, 17, 24, 25, 2, 3, 10, 11, 18, 19, 26, 27,
                                      4, 5, 12, 13, 20, 21, 28, 29, 6, 7, 14, 15, 22, 23, 30, 31};
std::vector<int> transposed() {
  std::vector<int> order;
  for (int i = 0; i < 8; ++i) {
    for (int j = 0; j < 8; ++j) order.push_back(i + 8 * j);
  }
  return order;
}

struct Written {
  Affine matrix;
  testing::TensorWriter tensors = {};
  Json settings = {{"quant_method", "gptq"}, {"checkpoint_format", "marlin"}};
};

Written write_dense(const Affine& matrix, const char* words = "p.B", const char* scales = "p.s") {
  Written out{matrix};
  std::vector<std::vector<int>> codes(static_cast<size_t>(matrix.k));
  for (int64_t c = 0; c < matrix.k; ++c) {
    for (int64_t r = 0; r < matrix.n; ++r) codes[static_cast<size_t>(c)].push_back(matrix.code(r, c));
  }
  out.tensors.add(words, "I32", {matrix.k / 16, matrix.n * matrix.bits / 2}, pack_tiles(codes, matrix.bits, false));
  const bool grouped = matrix.group && matrix.group < matrix.k;
  out.tensors.add(scales, "F16", {matrix.n_groups(), matrix.n},
                  reorder(matrix.halves(), grouped ? transposed() : kWholeOrder));
  out.tensors.add("p.workspace", "I32", {matrix.n / 64 * 16},
                  std::vector<int32_t>(static_cast<size_t>(matrix.n / 64 * 16)));
  return out;
}

/// The order in which sparse tensor cores read metadata: scattered by the formula of CUTLASS.
std::vector<uint16_t> scatter_meta(const std::vector<std::vector<uint16_t>>& meta) {
  const auto n = static_cast<int64_t>(meta.size()), columns = static_cast<int64_t>(meta[0].size());
  std::vector<uint16_t> out(static_cast<size_t>(n * columns));
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      int64_t row = r / 64 * 64 + r % 2 * 2 + r % 8 / 4 + (r % 32) % 4 / 2 * 32 + (r % 64) / 8 * 4, column = c;
      const int64_t top_right = row % 2 == 0 && column % 2 == 1, bottom_left = row % 2 == 1 && column % 2 == 0;
      row += top_right - bottom_left;
      column -= top_right - bottom_left;
      out[static_cast<size_t>(column / 2 * n * 2 + row * 2 + column % 2)] =
          meta[static_cast<size_t>(r)][static_cast<size_t>(c)];
    }
  }
  return out;
}

struct Parts {
  const char *codes = "p.B_24", *meta = "p.B_meta", *scales = "p.s";
};

Written write_sparse(Affine matrix, const Parts& parts = {}) {
  std::mt19937 random(5);
  const int middle = 1 << (matrix.bits - 1);
  std::vector<std::vector<int>> kept(static_cast<size_t>(matrix.k / 2));
  std::vector<std::vector<uint16_t>> meta(static_cast<size_t>(matrix.n));
  for (int64_t r = 0; r < matrix.n; ++r) {
    meta[static_cast<size_t>(r)].resize(static_cast<size_t>(matrix.k / 16));
    for (int64_t quad = 0; quad < matrix.k / 4; ++quad) {
      int places[] = {0, 1, 2, 3};
      std::shuffle(places, places + 4, random);
      const int first = std::min(places[0], places[1]), second = std::max(places[0], places[1]);
      int* codes = &matrix.codes[static_cast<size_t>(r * matrix.k + 4 * quad)];
      for (int i = 0; i < 4; ++i) {
        if (i != first && i != second) codes[i] = middle;
      }
      kept[static_cast<size_t>(2 * quad)].push_back(codes[first]);
      kept[static_cast<size_t>(2 * quad + 1)].push_back(codes[second]);
      uint16_t& word = meta[static_cast<size_t>(r)][static_cast<size_t>(quad / 4)];
      word = static_cast<uint16_t>(word | (first | second << 2) << (4 * (quad % 4)));
    }
  }
  Written out{matrix};
  out.settings["checkpoint_format"] = "marlin_24";
  out.tensors.add(parts.codes, "I32", {matrix.k / 32, matrix.n * matrix.bits / 2}, pack_tiles(kept, matrix.bits, true));
  out.tensors.add(parts.meta, "I16", {matrix.k / 32, 2 * matrix.n}, scatter_meta(meta));
  std::vector<uint16_t> scales = matrix.halves();
  if (matrix.group && matrix.group < matrix.k / 2) scales = reorder(scales, {0, 4, 1, 5, 2, 6, 3, 7});
  out.tensors.add(parts.scales, "F16", {matrix.n_groups(), matrix.n}, scales);
  return out;
}

WeightPlan planned(const Written& written, CheckpointView& view) {
  const testing::TempDir dir;
  view = written.tensors.open(dir, written.settings);
  return plan_weight(view, module_of("p", written.matrix.n, written.matrix.k), {}, true);
}

void expect_read(const Written& written) {
  CheckpointView view;
  const WeightPlan plan = planned(written, view);
  EXPECT_EQ(plan_quantization(view, {}).description, "gptq (checkpoint)");
  testing::expect_values(plan, written.matrix.values());
}

// Whole matrices of odd numbers of tiles.
TEST(Marlin, Dense) {
  for (const int64_t group : {0, 16, 80, 240}) {
    expect_read(write_dense(random_affine({.n = 64, .k = 240, .group = group}, true)));
    expect_read(write_dense(random_affine({.n = 192, .k = 240, .group = group}, true)));
  }
  expect_read(write_dense(random_affine({.bits = 8, .n = 192, .k = 80, .group = 16}, true)));
}

TEST(Marlin, Sparse) {
  for (const int64_t group : {0, 32, 96, 144, 288}) {
    expect_read(write_sparse(random_affine({.n = 64, .k = 288, .group = group}, true)));
    expect_read(write_sparse(random_affine({.n = 320, .k = 288, .group = group}, true)));
    expect_read(write_sparse(random_affine({.bits = 8, .n = 192, .k = 288, .group = group}, true)));
  }
}

// Words that the tool wrote: code (k + n) mod 16.
TEST(Marlin, WordsOfTheTool) {
  std::vector<std::vector<int>> codes(16, std::vector<int>(64));
  for (size_t k = 0; k < 16; ++k) {
    for (size_t n = 0; n < 64; ++n) codes[k][n] = static_cast<int>((k + n) % 16);
  }
  std::vector<uint32_t> words = pack_tiles(codes, 4, false);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(words[i], 0x19910880u) << i;
  for (int64_t n = 0; n < 64; ++n) {
    uint8_t column[16];
    unpack_marlin(reinterpret_cast<const uint8_t*>(words.data()), 4, false, 64, 16, n, column);
    for (int k = 0; k < 16; ++k) EXPECT_EQ(column[k], (k + n) % 16) << k << ", " << n;
  }
}

// The same contents, under the names of compressed-tensors.
TEST(Marlin, TilesUnderOtherNames) {
  const auto dir = testing::fixture("ct-24-sparse-w4a16");
  if (dir.empty()) GTEST_SKIP() << "ct-24-sparse-w4a16 is absent";
  const CheckpointView view = open_checkpoint(dir.string());
  const int n_weights = testing::for_each_reference_row(
      dir, [&](const std::string& name, const TensorInfo& tensor, const std::vector<float>& rows) {
        const auto n = static_cast<int64_t>(view.at(name + ".scale_packed").shape[1]);
        const WeightPlan plan =
            plan_marlin_words(view, module_of(name, n, static_cast<int64_t>(tensor.shape[1])),
                              {"weight_packed", "meta", "scale_packed"}, {.bits = 4, .group_size = 128, .where = ""});
        testing::expect_first_rows(plan, rows);
      });
  EXPECT_EQ(n_weights, 14);
}

TEST(Marlin, NamesOfMethods) {
  Written written = write_dense(random_affine({.n = 64, .k = 64}, true));
  written.settings = {{"quant_method", "marlin"}, {"group_size", -1}};
  expect_read(written);
  written.settings = {{"bits", 4}, {"group_size", -1}, {"is_marlin_format", true}};
  expect_read(written);
  CheckpointView view;
  planned(written, view);
  for (const char* name : {"gptq", "marlin", "gptq_marlin"})
    EXPECT_EQ(plan_quantization(view, testing::named(name)).description, "gptq (checkpoint)");
  Written awq = write_dense(random_affine({.n = 128, .k = 256, .group = 128}, true), "p.qweight", "p.scales");
  awq.settings = {
      {"quant_method", "awq"}, {"bits", 4}, {"group_size", 128}, {"version", "marlin"}, {"zero_point", false}};
  const WeightPlan plan = planned(awq, view);
  EXPECT_EQ(plan_quantization(view, {}).description, "awq (checkpoint)");
  testing::expect_values(plan, awq.matrix.values());
}

/// What loading says with a tensor of zeros, or of ones, in place of another.
std::string failure(Written written, const char* name, const char* type, std::vector<int64_t> shape, char fill = 0) {
  int64_t n = std::string(type) == "I32" ? 4 : 2;
  for (const int64_t dim : shape) n *= dim;
  written.tensors.add(name, type, shape, std::vector<char>(static_cast<size_t>(n), fill));
  return testing::failure_of(ErrorKind::model, [&] {
    CheckpointView view;
    testing::decoded_rows(planned(written, view), 0, written.matrix.n);
  });
}

TEST(Marlin, fault_052_tensors_that_do_not_fit) {
  const Written dense = write_dense(random_affine({.n = 64, .k = 128, .group = 32}, true));
  EXPECT_THAT(failure(dense, "p.B", "I32", {8, 127}),
              HasSubstr("tensor 'p.B': shapes do not fit a matrix [64, 128] of 4 bits (got B [8, 127], s [4, 64]; "));
  EXPECT_THAT(failure(dense, "p.B", "F16", {8, 128}), HasSubstr("'p.B': wrong dtype (got F16, expected I32)"));
  EXPECT_THAT(failure(dense, "p.s", "F16", {3, 64}), HasSubstr("s [3, 64]"));
  EXPECT_THAT(failure(dense, "p.s", "F16", {256}), HasSubstr("s [256]"));
  Written grouped = dense;
  grouped.settings["group_size"] = 64;
  EXPECT_THAT(failure(grouped, "p.s", "F16", {4, 64}), HasSubstr("group_size 64 (got B [8, 128], s [4, 64]"));
  const Written sparse = write_sparse(random_affine({.n = 64, .k = 128, .group = 32}, true));
  EXPECT_THAT(failure(sparse, "p.B_meta", "I16", {4, 127}),
              HasSubstr("(got B_24 [4, 128], B_meta [4, 127], s [4, 64]; "));
  EXPECT_THAT(failure(sparse, "p.B_meta", "I32", {4, 128}),
              HasSubstr("'p.B_meta': wrong dtype (got I32, expected I16)"));
  EXPECT_THAT(failure(sparse, "p.B_meta", "I16", {4, 128}), HasSubstr("'p.B_meta': column 0: not metadata of 2:4"));
  EXPECT_THAT(failure(sparse, "p.s", "F16", {4, 64}, 0x7f),
              HasSubstr("'p.s': scale of row 0, group 0: not a finite number"));
}

}  // namespace
}  // namespace packhorse
