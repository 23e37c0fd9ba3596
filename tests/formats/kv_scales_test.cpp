// Scales of an FP8 cache under the names of every tool.

#include "formats/kv_scales.h"

#include "formats/format_testing.h"

namespace packhorse {
namespace {

using testing::failure_of;

constexpr const char* kAttention = "model.layers.0.self_attn";

struct Names {
  const char *k, *v;
};
class KvScaleNames : public ::testing::TestWithParam<Names> {};

TEST_P(KvScaleNames, are_found) {
  testing::TensorWriter tensors;
  tensors.add(std::string(kAttention) + GetParam().k, "F32", {}, std::vector<float>{0.5f});
  tensors.add(std::string(kAttention) + GetParam().v, "BF16", {1}, std::vector<uint16_t>{0x3e80});
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir);
  EXPECT_TRUE(has_kv_scales(view));
  const std::optional<KvScales> scales = read_kv_scales(view, kAttention, 3);
  ASSERT_TRUE(scales);
  EXPECT_EQ(scales->k, (std::vector<float>{0.5f, 0.5f, 0.5f}));
  EXPECT_EQ(scales->v, (std::vector<float>{0.25f, 0.25f, 0.25f}));
  for (const auto& [name, tensor] : view.tensors) EXPECT_TRUE(is_kv_scale_name(name));
}

INSTANTIATE_TEST_SUITE_P(Tools, KvScaleNames,
                         ::testing::Values(Names{".k_scale", ".v_scale"}, Names{".k_proj.k_scale", ".v_proj.v_scale"},
                                           Names{".k_proj.output_scale", ".v_proj.output_scale"},
                                           Names{".attn.k_scale", ".attn.v_scale"},
                                           Names{".qkv_proj.k_scale", ".qkv_proj.v_scale"},
                                           Names{".k_cache.scale", ".v_cache.scale"}));

TEST(KvScales, one_serves_both_and_heads_may_differ) {
  testing::TensorWriter tensors;
  tensors.add("a.self_attn.k_scale", "F32", {2, 1, 1}, std::vector<float>{0.5f, 2});
  tensors.add("b.self_attn.kv_scale", "F32", {1}, std::vector<float>{4});
  tensors.add("c.self_attn.q_scale", "F32", {1}, std::vector<float>{4});
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir);
  EXPECT_EQ(read_kv_scales(view, "a.self_attn", 2)->v, (std::vector<float>{0.5f, 2}));
  EXPECT_EQ(read_kv_scales(view, "b.self_attn", 1)->k, (std::vector<float>{4}));
  EXPECT_FALSE(read_kv_scales(view, "c.self_attn", 2));
  EXPECT_NE(
      failure_of(ErrorKind::model, [&] { read_kv_scales(view, "a.self_attn", 3); })
          .find("tensor 'a.self_attn.k_scale': expected one scale, or one per KV head (got [2, 1, 1], KV heads 3)"),
      std::string::npos);
}

TEST(KvScales, weights_and_queries_are_none) {
  testing::TensorWriter tensors;
  tensors.add("a.self_attn.k_proj.weight_scale", "F32", {1}, std::vector<float>{4});
  tensors.add("a.self_attn.k_proj.input_scale", "F32", {1}, std::vector<float>{4});
  tensors.add("a.self_attn.q_proj.output_scale", "F32", {1}, std::vector<float>{4});
  const testing::TempDir dir;
  EXPECT_FALSE(has_kv_scales(tensors.open(dir)));
}

TEST(KvScales, must_be_positive) {
  for (const float value : {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN()}) {
    testing::TensorWriter tensors;
    tensors.add("a.self_attn.v_scale", "F32", {1}, std::vector<float>{value});
    const testing::TempDir dir;
    const CheckpointView view = tensors.open(dir);
    EXPECT_NE(failure_of(ErrorKind::model, [&] { read_kv_scales(view, "a.self_attn", 1); })
                  .find("tensor 'a.self_attn.v_scale': a scale of the KV cache is not a positive number"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace packhorse
