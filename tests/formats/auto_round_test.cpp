#include "words_testing.h"

namespace packhorse {
namespace {

using testing::Affine;
using ::testing::HasSubstr;
using testing::module_of;
using testing::random_affine;

/// A module in GPTQ's words with these zero points, all of them of one row per group, as 4-bit fields.
struct Written {
  Affine matrix;
  testing::TensorWriter tensors = {};
  Json settings = {};
};

Written write(const Affine& matrix, int stored_zero_offset, const std::string& name = "model.layers.0.a.q_proj") {
  Written out{matrix};
  const auto& [bits, n, k] = std::tie(matrix.bits, matrix.n, matrix.k);
  std::vector<uint32_t> qweight(static_cast<size_t>(n * k * bits / 32)),
      qzeros(static_cast<size_t>(n * matrix.n_groups() * bits / 32));
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t c = 0; c < k; ++c)
      testing::put_bits(qweight, (c * bits / 32 * n + r) * 32 + c * bits % 32, bits, matrix.code(r, c));
    for (int64_t g = 0; g < matrix.n_groups(); ++g)
      testing::put_bits(qzeros, (g * n + r) * bits, bits, matrix.zero(r, g) + stored_zero_offset);
  }
  out.tensors.add(name + ".qweight", "I32", {k * bits / 32, n}, qweight);
  out.tensors.add(name + ".qzeros", "I32", {matrix.n_groups(), n * bits / 32}, qzeros);
  out.tensors.add(name + ".scales", "F16", {matrix.n_groups(), n}, matrix.halves());
  out.settings = {{"quant_method", "auto-round"}, {"bits", bits}, {"group_size", matrix.group}, {"sym", false}};
  return out;
}

/// Without zero points 0, whose storage less one borrows.
Affine some_affine(Affine shape) {
  Affine out = random_affine(std::move(shape));
  for (int& zero : out.zeros) zero = std::max(zero, 1);
  return out;
}

void expect_read(const Written& written, const std::string& name = "model.layers.0.a.q_proj") {
  const testing::TempDir dir;
  const CheckpointView view = written.tensors.open(dir, written.settings);
  EXPECT_EQ(plan_quantization(view, {}).description, "auto-round (checkpoint)");
  testing::expect_values(plan_weight(view, module_of(name, written.matrix.n, written.matrix.k), {}, true),
                         written.matrix.values());
}

TEST(AutoRound, PackingFormatSaysWhatZeroPointsAre) {
  for (const int bits : {2, 4, 8}) {
    const Affine matrix = some_affine({.bits = bits, .n = 32, .k = 128, .group = 64});
    Written less_one = write(matrix, -1), plain = write(matrix, 0);
    expect_read(less_one);  // the default
    less_one.settings["packing_format"] = "auto_round:auto_gptq";
    expect_read(less_one);
    for (const char* format : {"auto_round", "auto_round:exllamav2", "auto_round:gptqmodel", "auto_round:auto_awq"}) {
      plain.settings["packing_format"] = format;
      expect_read(plain);
    }
    plain.settings.erase("packing_format"), less_one.settings.erase("packing_format");
    plain.settings["backend"] = "autoround:exllamav2";  // of old releases
    expect_read(plain);
    for (const char* backend : {"auto_round:gptq:exllamav2", "auto", "gptq:marlin"}) {
      less_one.settings["backend"] = backend;
      expect_read(less_one);
    }
  }
}

TEST(AutoRound, SymmetricZeroPointsInEitherManner) {
  const Affine matrix = random_affine({.bits = 4, .n = 32, .k = 128, .group = 64}, true);
  for (Written written : {write(matrix, -1), write(matrix, 0)}) {
    for (const char* format : {"auto_round:auto_gptq", "auto_round"}) {
      written.settings["packing_format"] = format;
      written.settings["sym"] = true;
      expect_read(written);
      written.settings.erase("sym");
      expect_read(written);
      written.settings["sym"] = false;
      written.settings["extra_config"] = {{"q_proj", {{"sym", true}}}};
      expect_read(written);
      written.settings.erase("extra_config");
    }
  }
}

TEST(AutoRound, IntegersBesideBlocksOfFp8) {
  Written written = write(some_affine({.bits = 4, .n = 32, .k = 128, .group = 32}), -1);
  written.settings.update({{"bits", 8}, {"group_size", {128, 128}}});
  written.settings["extra_config"] = {{"q_proj", {{"bits", 4}, {"group_size", 32}}}};
  expect_read(written);
}

TEST(AutoRound, NamesOfTheMethod) {
  Written written = write(some_affine({.n = 32, .k = 64, .group = 32}), -1);
  for (const char* method : {"auto-round", "intel/auto-round", "auto_round", "inc", "Auto-Round"}) {
    written.settings["quant_method"] = method;
    expect_read(written);
  }
  written.settings.erase("quant_method");
  written.settings["autoround_version"] = "0.4";
  for (const bool nested : {false, true}) {
    const testing::TempDir dir;
    written.tensors.write(dir, {{"architectures", {"LlamaForCausalLM"}}});
    const Json file = nested ? Json{{"quantization_config", written.settings}} : written.settings;
    testing::write_text(dir.file("quantization_config.json"), file.dump());
    const CheckpointView view = open_checkpoint(dir.path().string());
    EXPECT_EQ(plan_quantization(view, {}).description, "auto-round (checkpoint)") << nested;
    EXPECT_EQ(plan_quantization(view, testing::named("inc")).description, "auto-round (checkpoint)");
  }
}

TEST(AutoRound, SettingsOfSomeModules) {
  Written written = write(some_affine({.bits = 8, .n = 32, .k = 128, .group = 32}), -1);
  written.settings.update({{"bits", 4}, {"group_size", 64}});
  const auto read = [&](const std::string& extra) {
    const testing::TempDir dir;
    const CheckpointView view = testing::open_with(written.tensors, dir, written.settings, "extra_config", extra);
    const WeightPlan plan = plan_weight(view, module_of("model.layers.0.a.q_proj", 32, 128), {}, true);
    testing::expect_values(plan, written.matrix.values());
  };
  read(R"({"model.layers.0.a.q_proj": {"bits": 8, "group_size": 32}, "q_proj": {"bits": 2}})");
  read(R"({"q_proj": {"bits": 8, "group_size": 32}})");
  read(R"({"a.q_proj": {"bits": 8, "group_size": 32}})");
  read(R"({".*layers\\.1.*": {"bits": 2}, "layers\\.[01]": {"bits": 8, "group_size": 32}, ".*": {"bits": 3}})");
  read(R"({"q_proj": {"bits": 16}})");  // says that it is plain, which it is not
  const auto failure = [&](const std::string& extra) {
    return testing::failure_of(ErrorKind::model, [&] { read(extra); });
  };
  EXPECT_THAT(failure("{}"), HasSubstr("of 4 bits with group_size 64 (got qweight [32, 32]"));
  EXPECT_THAT(failure(R"({"_proj": {"bits": 8, "group_size": 32}})"), HasSubstr("of 4 bits"));
  EXPECT_THAT(failure(R"({"q_proj": {"bits": 9}})"),
              HasSubstr("quantization_config.extra_config.q_proj.bits: not a whole number in 2..8 (got 9)"));
  EXPECT_THAT(failure(R"({"q_proj": 8})"), HasSubstr("extra_config.q_proj: expected an object (got 8)"));
  EXPECT_THAT(failure(R"({"(*": {}})"), HasSubstr("extra_config.(*"));
  EXPECT_THAT(failure("[]"), HasSubstr("extra_config: expected an object (got an array of 0)"));
}

TEST(AutoRound, WhatIsNotSupportedIsNamed) {
  const Written good = write(some_affine({.n = 32, .k = 64, .group = 32}), -1);
  expect_read(good);
  Written rotated = good;
  rotated.settings["rotation_config"] = {{"hadamard_type", "quarot"}};
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { expect_read(rotated); }),
              HasSubstr("quantization_config.rotation_config: not supported yet (got an object"));
  Written fp8 = good;
  fp8.tensors.add("model.layers.0.a.q_proj.act_scales", "BF16", {1}, std::vector<uint16_t>(1));
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { expect_read(fp8); }),
              HasSubstr("q_proj.act_scales': 4-bit weights with FP8 activations are not supported"));
  Written shape = good;
  shape.tensors.add("model.layers.0.a.q_proj.qweight", "I32", {64, 5}, std::vector<int32_t>(320));
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { expect_read(shape); }),
              HasSubstr("shapes do not fit a matrix [32, 64] of 4 bits with group_size 32 (got qweight [64, 5]"));
}

}  // namespace
}  // namespace packhorse
