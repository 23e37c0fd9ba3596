#include <gmock/gmock.h>

#include "format_testing.h"
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
  const testing::TensorFile reference((dir / "reference.safetensors").string());
  int n_weights = 0;
  for (const auto& [name, tensor] : reference.tensors()) {
    if (!name.starts_with("rows.")) continue;
    const Module module = gguf_module(view, name.substr(5));
    const WeightPlan plan = plan_weight(view, module, {}, true);
    EXPECT_EQ(plan.source_bytes, view.at(module.source + ".weight").n_bytes);
    EXPECT_EQ(testing::worst_ulps(testing::decoded_rows(plan, 0, static_cast<int64_t>(tensor.shape[0])),
                                  reference.get<float>(name)),
              0)
        << name << ": " << describe(plan.encoding);
    testing::expect_any_read_order(plan);
    ++n_weights;
  }
  EXPECT_GE(n_weights, 14);
}

INSTANTIATE_TEST_SUITE_P(Types, GgufFixture,
                         ::testing::Values("gguf-f16", "gguf-bf16", "gguf-q4_0", "gguf-q4_1", "gguf-q5_0", "gguf-q5_1",
                                           "gguf-q8_0", "gguf-q2_k", "gguf-q3_k", "gguf-q4_k", "gguf-q5_k", "gguf-q6_k",
                                           "gguf-q4_k_m-mix", "gguf-q3_k_m-qwen2", "gguf-q8_0-qwen2",
                                           "gguf-q5_k-split"));

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

TEST(Gguf, OtherTypesAreNamed) {
  const CheckpointView view = write_gguf(29, 2, 256, 2 * 56);
  const std::string message =
      testing::failure_of(ErrorKind::model, [&] { plan_weight(view, ffn_up(2, 256), {}, true); });
  EXPECT_EQ(message, "m.gguf: tensor 'blk.0.ffn_up.weight': type IQ1_M is not supported yet");
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
