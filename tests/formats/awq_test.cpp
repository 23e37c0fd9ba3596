#include "words_testing.h"

namespace packhorse {
namespace {

using testing::Affine;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::module_of;
using testing::put_bits;
using testing::random_affine;

struct Written {
  Affine matrix;
  testing::TensorWriter tensors = {};
  Json settings = {};
};

Json settings_of(const Affine& matrix, const char* version) {
  return {{"quant_method", "awq"},
          {"bits", matrix.bits},
          {"group_size", matrix.group ? matrix.group : -1},
          {"zero_point", true},
          {"version", version}};
}

Written write_gemm(const Affine& matrix) {
  Written out{matrix, {}, settings_of(matrix, "GEMM")};
  const auto& [bits, n, k] = std::tie(matrix.bits, matrix.n, matrix.k);
  // Column of the matrix in each field of a word, from the low bits up.
  const std::vector<int> order = bits == 4 ? std::vector<int>{0, 2, 4, 6, 1, 3, 5, 7} : std::vector<int>{0, 2, 1, 3};
  const auto per_word = static_cast<int64_t>(order.size());
  const auto pack = [&, n = n, bits = bits](int64_t rows, auto&& value) {
    std::vector<uint32_t> words(static_cast<size_t>(rows * n / per_word));
    for (int64_t i = 0; i < rows * n; ++i) {
      const int64_t word = i / per_word, field = i % per_word;
      const int64_t column = word * per_word % n + order[static_cast<size_t>(field)];
      put_bits(words, word * 32 + field * bits, bits, value(word * per_word / n, column));
    }
    return words;
  };
  out.tensors.add("p.qweight", "I32", {k, n / per_word},
                  pack(k, [&](int64_t c, int64_t r) { return matrix.code(r, c); }));
  out.tensors.add("p.qzeros", "I32", {matrix.n_groups(), n / per_word},
                  pack(matrix.n_groups(), [&](int64_t g, int64_t r) { return matrix.zero(r, g); }));
  out.tensors.add("p.scales", "F16", {matrix.n_groups(), n}, matrix.halves());
  return out;
}

/// Groups that the scales of gemv have room for.
int64_t padded_groups(const Affine& matrix) {
  const int64_t unit = matrix.group == 32 ? 4 : matrix.group == 64 ? 2 : 1;
  int64_t width = (matrix.n_groups() + 7) / 8;
  while (width % unit) ++width;
  return 8 * width;
}

Written write_gemv(const Affine& matrix) {
  Written out{matrix, {}, settings_of(matrix, "gemv")};
  const int64_t n = matrix.n, k = matrix.k, padded = padded_groups(matrix);
  std::vector<uint32_t> qweight(static_cast<size_t>(n * k / 8)), qzeros(static_cast<size_t>(n * padded / 8));
  std::vector<uint16_t> scales(static_cast<size_t>(n * padded));
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t c = 0; c < k; ++c) put_bits(qweight, 4 * (r * k + c), 4, matrix.code(r, c));
    for (int64_t g = 0; g < matrix.n_groups(); ++g) {
      put_bits(qzeros, 4 * (r * padded + g), 4, matrix.zero(r, g));
      scales[static_cast<size_t>(r * padded + g)] = f32_to_f16(matrix.scale(r, g));
    }
  }
  out.tensors.add("p.qweight", "I32", {n, k / 8}, qweight);
  out.tensors.add("p.qzeros", "I32", {n, padded / 8}, qzeros);
  out.tensors.add("p.scales", "F16", {n, padded}, scales);
  return out;
}

Written write_gemv_fast(const Affine& matrix) {
  Written out{matrix, {}, settings_of(matrix, "gemv_fast")};
  const int64_t n = matrix.n, k = matrix.k, padded = padded_groups(matrix);
  std::vector<uint16_t> qweight(static_cast<size_t>(n / 4 * k)), scales(static_cast<size_t>(n * padded)), zeros(scales);
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t c = 0; c < k; ++c) {
      const int64_t element = r % 4 * 16 + c % 64 / 32 * 8 + c % 8, nibble = c % 32 / 8;
      uint16_t& word = qweight[static_cast<size_t>(r / 4 * k + c / 64 * 64 + element)];
      word = static_cast<uint16_t>(word | matrix.code(r, c) << (4 * nibble));
    }
    for (int64_t g = 0; g < matrix.n_groups(); ++g) {
      scales[static_cast<size_t>(g * n + r)] = f32_to_f16(matrix.scale(r, g));
      zeros[static_cast<size_t>(g * n + r)] = f32_to_f16(-matrix.scale(r, g) * static_cast<float>(matrix.zero(r, g)));
    }
  }
  out.tensors.add("p.qweight", "I16", {n / 4, k}, qweight);
  out.tensors.add("p.qzeros", "F16", {padded, n}, zeros);
  out.tensors.add("p.scales", "F16", {padded, n}, scales);
  return out;
}

WeightPlan planned(const Written& written, CheckpointView& view) {
  const testing::TempDir dir;
  view = written.tensors.open(dir, written.settings);
  return plan_weight(view, module_of("p", written.matrix.n, written.matrix.k), {}, true);
}

Encoding expect_read(const Written& written) {
  CheckpointView view;
  const WeightPlan plan = planned(written, view);
  testing::expect_values(plan, written.matrix.values());
  return plan.encoding;
}

TEST(Awq, Gemm) {
  for (const int64_t group : {0, 16, 32, 96, 128})
    expect_read(write_gemm(random_affine({.n = 40, .k = 384, .group = group})));
  expect_read(write_gemm(random_affine({.bits = 8, .n = 20, .k = 192, .group = 64})));
}

// Written by the tool: columns 0..7 hold 0..7.
TEST(Awq, WordOfTheTool) {
  Affine matrix{.n = 8, .k = 1};
  for (int i = 0; i < 8; ++i) matrix.codes.push_back(i), matrix.zeros.push_back(8), matrix.scales.push_back(1);
  Written written = write_gemm(matrix);
  written.tensors.add("p.qweight", "I32", {1, 1}, std::vector<uint32_t>{0x75316420});
  expect_read(written);
}

TEST(Awq, GemvWithPaddedGroups) {
  for (const int64_t group : {0, 32, 64, 128, 384}) {
    const Affine matrix = random_affine({.n = 36, .k = 1152, .group = group});
    expect_read(write_gemv(matrix));
    expect_read(write_gemv_fast(matrix));
  }
}

TEST(Awq, ShapesThatFitTwoLayouts) {
  expect_read(write_gemm(random_affine({.n = 256, .k = 256, .group = 128})));
  expect_read(write_gemv(random_affine({.n = 256, .k = 256, .group = 128})));
  // Of 8 columns per row words are [n, n], as GPTQ's are.
  const Written written = write_gemv(random_affine({.n = 96, .k = 768, .group = 64}));
  EXPECT_EQ(expect_read(written).bits, 4);
  // As many padded groups as rows: only the settings tell.
  const Affine square = random_affine({.n = 16, .k = 16, .group = 1});
  Written gemm = write_gemm(square);
  expect_read(gemm);
}

TEST(Awq, SymmetricWithoutZeroPoints) {
  Written written = write_gemm(random_affine({.n = 32, .k = 64, .group = 32}, true));
  EXPECT_EQ(expect_read(written).offset, 8);
  written.tensors.remove("p.qzeros");
  CheckpointView view;
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { planned(written, view); }),
              HasSubstr("missing tensor 'p.qzeros'"));
  written.settings["zero_point"] = false;
  expect_read(written);
}

TEST(Awq, SettingsInASideFileAlone) {
  const Written written = write_gemv(random_affine({.n = 32, .k = 128, .group = 64}));
  const Json native = {{"zero_point", true}, {"q_group_size", 64}, {"w_bit", 4}, {"version", "GEMV"}};
  for (const bool nested : {false, true}) {
    const testing::TempDir dir;
    written.tensors.write(dir, {{"architectures", {"LlamaForCausalLM"}}});
    const Json file = nested ? Json{{"quantization_config", native}} : native;
    testing::write_text(dir.file("quant_config.json"), file.dump());
    const CheckpointView view = open_checkpoint(dir.path().string());
    EXPECT_EQ(plan_quantization(view, {}).description, "awq (checkpoint)") << nested;
    testing::expect_values(plan_weight(view, module_of("p", 32, 128), {}, true), written.matrix.values());
  }
}

TEST(Awq, NamesThatUsersMayGive) {
  CheckpointView view;
  planned(write_gemm(random_affine({.n = 32, .k = 64})), view);
  for (const char* name : {"awq", "awq_marlin", "auto_awq", "marlin", "moe_wna16"})
    EXPECT_EQ(plan_quantization(view, testing::named(name)).description, "awq (checkpoint)") << name;
  EXPECT_THAT(testing::failure_of(ErrorKind::usage, [&] { plan_quantization(view, testing::named("gptq")); }),
              HasSubstr("quantization 'gptq' does not match the checkpoint, which is quantized with 'awq'"));
}

/// What loading says after a change.
std::string failure(Written written, auto&& change) {
  change(written);
  return testing::failure_of(ErrorKind::model, [&] {
    CheckpointView view;
    testing::decoded_rows(planned(written, view), 0, written.matrix.n);
  });
}

/// With a tensor of zeros in place of another.
std::string failure_with(const Written& written, const char* name, const char* type, std::vector<int64_t> shape) {
  return failure(written, [&](Written& w) {
    int64_t n = std::string(type) == "I32" ? 4 : 2;
    for (const int64_t dim : shape) n *= dim;
    w.tensors.add(name, type, shape, std::vector<char>(static_cast<size_t>(n)));
  });
}

TEST(Awq, fault_050_settings) {
  const Written good = write_gemv(random_affine({.n = 32, .k = 256, .group = 64}));
  expect_read(good);
  const auto with = [&](const char* key, const Json& value) {
    return failure(good, [&](Written& w) { w.settings[key] = value; });
  };
  for (const Json& bits : {Json(0), Json(3.5), Json(17)})
    EXPECT_THAT(with("bits", bits),
                HasSubstr("quantization_config.bits: not a whole number in 2..8 (got " + bits.dump()));
  EXPECT_THAT(with("bits", 8), HasSubstr("shapes do not fit a matrix [32, 256] of 8 bits"));
  EXPECT_THAT(with("group_size", -2), HasSubstr("quantization_config.group_size"));
  EXPECT_THAT(with("group_size", 32),
              HasSubstr("group_size 32 (got qweight [32, 32], qzeros [32, 2], scales [32, 16]"));
  EXPECT_THAT(with("group_size", 96), HasSubstr("group_size 96 (got"));
  EXPECT_THAT(with("group_size", nullptr), HasSubstr("quantization_config: group_size: missing"));
}

TEST(Awq, fault_052_tensors_that_do_not_fit) {
  const Written gemm = write_gemm(random_affine({.n = 32, .k = 256, .group = 64}));
  expect_read(gemm);
  EXPECT_THAT(failure_with(gemm, "p.qweight", "I32", {256, 3}),
              HasSubstr("tensor 'p.qweight': shapes do not fit a matrix [32, 256] of 4 bits with group_size 64 (got "
                        "qweight [256, 3], qzeros [4, 4], scales [4, 32]; settings: "));
  EXPECT_THAT(failure_with(gemm, "p.qzeros", "I32", {4, 5}), HasSubstr("(got qweight [256, 4], qzeros [4, 5], scales"));
  EXPECT_THAT(failure_with(gemm, "p.scales", "F16", {5, 32}), HasSubstr("qzeros [4, 4], scales [5, 32]"));
  EXPECT_THAT(failure_with(gemm, "p.scales", "F16", {128}), HasSubstr("scales [128]"));
  EXPECT_THAT(failure_with(gemm, "p.scales", "I32", {4, 32}), HasSubstr("'p.scales': wrong dtype (got I32"));
  EXPECT_THAT(failure_with(gemm, "p.qzeros", "F16", {4, 4}), HasSubstr("'p.qzeros': wrong dtype (got F16"));
  const Written gemv = write_gemv(random_affine({.n = 32, .k = 256, .group = 64}));
  EXPECT_THAT(failure_with(gemv, "p.qzeros", "I32", {32, 3}), HasSubstr("qzeros [32, 3], scales [32, 16]"));
  EXPECT_THAT(failure_with(gemv, "p.scales", "F16", {32, 24}), HasSubstr("scales [32, 24]"));
  const Written fast = write_gemv_fast(random_affine({.n = 32, .k = 256, .group = 64}));
  expect_read(fast);
  EXPECT_THAT(failure_with(fast, "p.scales", "F16", {24, 32}), HasSubstr("scales [24, 32]"));
  EXPECT_THAT(failure_with(fast, "p.qzeros", "I32", {16, 32}), HasSubstr("'p.qzeros': wrong dtype (got I32"));
  EXPECT_THAT(failure_with(fast, "p.qweight", "I16", {8, 255}), HasSubstr("(got qweight [8, 255]"));
  EXPECT_THAT(
      failure(fast,
              [](Written& w) {
                w.tensors.add("p.qzeros", "F16", {16, 32}, std::vector<uint16_t>(16 * 32, f32_to_f16(1e4f)));
              }),
      AllOf(HasSubstr("'p.qzeros': row 0, group 0: no multiple of the scale by 0..15 (got "), HasSubstr("scale ")));
}

}  // namespace
}  // namespace packhorse
