#include <gmock/gmock.h>

#include "fixture_rows.h"
#include "io/gguf_writer.h"

namespace packhorse {
namespace {

using ::testing::HasSubstr;
using ::testing::TestWithParam;

/// Hugging Face name of a weight -> its place in a Llama GGUF.
Module gguf_module(const CheckpointView& view, const std::string& name) {
  Module module{.name = name, .source = {}, .n = 0, .k = 0, .source_row = {}};
  const std::map<std::string, std::string> leaves = {
      {"self_attn.q_proj", "attn_q"},      {"self_attn.k_proj", "attn_k"}, {"self_attn.v_proj", "attn_v"},
      {"self_attn.o_proj", "attn_output"}, {"mlp.gate_proj", "ffn_gate"},  {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"}};
  if (name == "model.embed_tokens") {
    module.source = "token_embd";
  } else if (name == "lm_head") {
    module.source = "output";
  } else {
    const std::string rest = name.substr(std::string("model.layers.").size());
    const size_t dot = rest.find('.');
    module.source = "blk." + rest.substr(0, dot) + "." + leaves.at(rest.substr(dot + 1));
  }
  const TensorInfo& weight = view.at(module.source + ".weight");
  module.n = static_cast<int64_t>(weight.shape[0]);
  module.k = static_cast<int64_t>(weight.shape[1]);
  const bool rotated = module.source.ends_with("attn_q") || module.source.ends_with("attn_k");
  if (rotated && view.gguf["general.architecture"] == "llama") {
    module.source_row = [](int64_t r) {  // pairs (2 j, 2 j + 1) of a head of 64 hold rows j and j + 32
      return r / 64 * 64 + r % 32 * 2 + r % 64 / 32;
    };
  }
  return module;
}

class GgufFixture : public TestWithParam<const char*> {};

TEST_P(GgufFixture, RowsEqualTheReference) {
  const auto dir = testing::fixture(GetParam());
  if (dir.empty()) GTEST_SKIP() << GetParam() << " is absent";
  const CheckpointView view = open_checkpoint(dir.string());
  const int n_weights = testing::for_each_reference_row(
      dir, [&](const std::string& name, const TensorInfo&, const std::vector<float>& rows) {
        const Module module = gguf_module(view, name);
        const WeightPlan plan = plan_weight(view, module, {}, true);
        EXPECT_EQ(plan.source_bytes, view.at(module.source + ".weight").n_bytes);
        testing::expect_first_rows(plan, rows);
      });
  EXPECT_GE(n_weights, 14);
}

INSTANTIATE_TEST_SUITE_P(Types, GgufFixture,
                         ::testing::Values("gguf-f16", "gguf-bf16", "gguf-q4_0", "gguf-q4_1", "gguf-q5_0", "gguf-q5_1",
                                           "gguf-q8_0", "gguf-q2_k", "gguf-q3_k", "gguf-q4_k", "gguf-q5_k", "gguf-q6_k",
                                           "gguf-q4_k_m-mix", "gguf-q3_k_m-qwen2", "gguf-q8_0-qwen2", "gguf-q5_k-split",
                                           "gguf-iq1_m", "gguf-iq1_s", "gguf-iq2_s", "gguf-iq2_xs", "gguf-iq2_xxs",
                                           "gguf-iq3_s", "gguf-iq3_xxs", "gguf-iq4_nl", "gguf-iq4_xs", "gguf-mxfp4",
                                           "gguf-nvfp4", "gguf-q1_0", "gguf-q2_0", "gguf-tq1_0", "gguf-tq2_0"));

/// A file with one tensor of [n, k]; its data are the writer's filler. The view's descriptor outlives the folder.
CheckpointView write_gguf(uint32_t type, uint64_t n, uint64_t k, uint64_t n_bytes) {
  const testing::TempDir dir;
  testing::GgufFile file;
  file.keys = {testing::string_key("general.architecture", "llama")};
  file.tensors = {{"blk.0.ffn_up.weight", {k, n}, type, n_bytes}};
  testing::write_text(dir.file("m.gguf"), file.write());
  return open_checkpoint(dir.file("m.gguf"));
}

Module ffn_up(int64_t n, int64_t k) {
  return {.name = "model.layers.0.mlp.up_proj", .source = "blk.0.ffn_up", .n = n, .k = k, .source_row = {}};
}

TEST(Gguf, ShapeMustBeTheModels) {
  const CheckpointView view = write_gguf(2, 6, 64, 6 * 36);
  EXPECT_EQ(plan_weight(view, ffn_up(6, 64), {}, true).n, 6);
  const std::string message =
      testing::failure_of(ErrorKind::model, [&] { plan_weight(view, ffn_up(64, 6), {}, true); });
  EXPECT_THAT(message, HasSubstr("m.gguf: tensor 'blk.0.ffn_up.weight'"));
  EXPECT_THAT(message, HasSubstr("[6, 64]"));
  EXPECT_THAT(message, HasSubstr("[64, 6]"));
}

/// Values of a file with one row of this type; `scale`, where it is given, stands beside it as the module's second
/// scale.
std::vector<float> row_of(uint32_t type, uint64_t k, const std::string& block, const std::vector<float>& scale = {},
                          uint32_t version = 3, uint32_t alignment = 0) {
  const testing::TempDir dir;
  testing::GgufFile file;
  file.version = version;
  file.keys = {testing::string_key("general.architecture", "llama")};
  if (alignment) {
    file.alignment = alignment;
    file.keys.push_back(testing::u32_key("general.alignment", alignment));
  }
  file.tensors = {{"blk.0.ffn_up.weight", {k, 1}, type, block.size(), block}};
  if (!scale.empty()) {
    std::string data;
    for (const float value : scale) testing::put(data, value);
    file.tensors.push_back({"blk.0.ffn_up.scale", {scale.size()}, 0, data.size(), data});
  }
  testing::write_text(dir.file("m.gguf"), file.write());
  const CheckpointView view = open_checkpoint(dir.file("m.gguf"));
  const WeightPlan plan = plan_weight(view, ffn_up(1, static_cast<int64_t>(k)), {}, true);
  return testing::decoded_rows(plan, 0, 1);
}

constexpr uint32_t kQ8_0 = 8, kMxfp4 = 39, kNvfp4 = 40, kQ1_0 = 41, kQ2_0 = 42;

TEST(Gguf, OlderVersionAndOtherAlignment) {
  std::string block("\x00\x3c", 2);  // 1
  for (int i = 0; i < 32; ++i) block.push_back(static_cast<char>(i - 16));
  for (const uint32_t version : {2u, 3u}) {
    for (const uint32_t alignment : {0u, 64u}) {
      const std::vector<float> row = row_of(kQ8_0, 32, block, {}, version, alignment);
      for (int i = 0; i < 32; ++i) EXPECT_EQ(row[static_cast<size_t>(i)], static_cast<float>(i - 16));
    }
  }
}

TEST(Gguf, Nvfp4ScalesWithoutSignAndTheSecondScale) {
  std::string block("\x00\x7f\xb8\x01", 4);  // 0, 0, 1 (the sign counts for nothing), 2^-9
  block += std::string(32, '\x72');          // 1 in the low halves, 6 in the high ones
  for (const float second : {1.0f, 0.25f}) {
    const std::vector<float> row =
        row_of(kNvfp4, 64, block, second == 1.0f ? std::vector<float>{} : std::vector{second});
    for (size_t i = 0; i < 64; ++i) {
      const float value = i % 16 < 8 ? 1.0f : 6.0f, scale = i < 32 ? 0.0f : i < 48 ? 1.0f : 0x1p-9f;
      EXPECT_EQ(row[i], value * scale * second) << i;
    }
  }
}

TEST(Gguf, Mxfp4ScalesFromTheSmallestToTheLargest) {
  for (const auto& [byte, scale] : std::map<int, float>{{0, 0x1p-127f}, {1, 0x1p-126f}, {127, 1}, {253, 0x1p126f}}) {
    const std::vector<float> row = row_of(kMxfp4, 32, static_cast<char>(byte) + std::string(16, '\xa3'));
    for (size_t i = 0; i < 32; ++i) EXPECT_EQ(row[i], (i < 16 ? 1.5f : -1.0f) * scale) << byte;
  }
}

TEST(Gguf, CodesOfOneAndTwoBits) {
  const std::string half("\x00\x38", 2);
  std::vector<float> row = row_of(kQ2_0, 64, half + std::string(16, '\xe4'));  // 0, 1, 2, 3
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(row[i], (static_cast<float>(i % 4) - 1) / 2);
  row = row_of(kQ1_0, 128, half + std::string(16, '\x05'));
  for (size_t i = 0; i < 128; ++i) EXPECT_EQ(row[i], i % 8 == 0 || i % 8 == 2 ? 0.5f : -0.5f);
}

TEST(Gguf, OtherTypesAreNamed) {
  const CheckpointView view = write_gguf(24, 2, 256, 2 * 256);
  const std::string message =
      testing::failure_of(ErrorKind::model, [&] { plan_weight(view, ffn_up(2, 256), {}, true); });
  EXPECT_EQ(message, "m.gguf: tensor 'blk.0.ffn_up.weight': type I8 is not supported yet");
}

TEST(Gguf, MissingTensorIsNamed) {
  const CheckpointView view = write_gguf(2, 6, 64, 6 * 36);
  Module module = ffn_up(6, 64);
  module.source = "blk.0.ffn_gate";
  const std::string message = testing::failure_of(ErrorKind::model, [&] { plan_weight(view, module, {}, true); });
  EXPECT_THAT(message, HasSubstr("blk.0.ffn_gate.weight"));
}

}  // namespace
}  // namespace packhorse
