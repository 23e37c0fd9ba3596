// Plain weights that become ggml's block types while they load, against what ggml's own quantizers wrote (golden/) and
// against the files of llama-quantize.

#include <gmock/gmock.h>

#include "formats/format_testing.h"
#include "io/gguf_writer.h"

namespace packhorse {
namespace {

using testing::failure_of;
using ::testing::HasSubstr;
using testing::module_of;

const std::map<std::string, uint32_t> kGgmlTypes = {
    {"q4_0", 2},  {"q4_1", 3},  {"q5_0", 6},  {"q5_1", 7},    {"q8_0", 8},    {"q2_k", 10},  {"q3_k", 11},
    {"q4_k", 12}, {"q5_k", 13}, {"q6_k", 14}, {"iq4_nl", 20}, {"iq4_xs", 23}, {"tq1_0", 34}, {"tq2_0", 35}};

QuantizationPlan quantization_of(const CheckpointView& view, const std::string& method, Json config = nullptr) {
  return plan_quantization(view, {method, "auto", std::move(config)});
}

template <class T>
bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

/// Codes and scales alike, also where a scale of 0 makes codes meaningless.
void expect_same(const WeightPlan& made, const WeightPlan& read) {
  ASSERT_TRUE(made.encoding == read.encoding) << describe(made.encoding) << "; " << describe(read.encoding);
  ASSERT_EQ(made.n, read.n);
  ASSERT_EQ(made.k, read.k);
  for (int64_t r = 0; r < made.n; ++r) {
    RowBlock a, b;
    made.read(r, 1, a);
    read.read(r, 1, b);
    ASSERT_TRUE(same_bytes(a.scale, b.scale)) << made.name << " row " << r;
    ASSERT_TRUE(same_bytes(a.min, b.min)) << made.name << " row " << r;
    ASSERT_TRUE(same_bytes(a.super_scale, b.super_scale)) << made.name << " row " << r;
    ASSERT_TRUE(same_bytes(a.super_min, b.super_min)) << made.name << " row " << r;
    ASSERT_TRUE(same_bytes(a.codes, b.codes)) << made.name << " row " << r;
  }
}

class GgufInFlight : public ::testing::TestWithParam<std::string> {};

TEST_P(GgufInFlight, EqualsTheGolden) {
  const testing::TensorFile golden(testing::golden_dir() / "gguf_blocks.safetensors");
  const auto n = static_cast<int64_t>(golden.info("x").shape[0]), k = static_cast<int64_t>(golden.info("x").shape[1]);
  const testing::TempDir dir, gguf_dir;
  testing::TensorWriter tensors;
  tensors.add("p.weight", "F32", {n, k}, golden.get<float>("x"));
  const CheckpointView view = tensors.open(dir);
  const WeightPlan made = plan_weight(view, module_of("p", n, k), quantization_of(view, GetParam()), true);

  const std::vector<char> blocks = golden.get<char>(GetParam());
  testing::GgufFile file;
  file.keys = {testing::string_key("general.architecture", "llama")};
  file.tensors = {{"p.weight",
                   {static_cast<uint64_t>(k), static_cast<uint64_t>(n)},
                   kGgmlTypes.at(GetParam()),
                   blocks.size(),
                   std::string(blocks.begin(), blocks.end())}};
  testing::write_text(gguf_dir.file("m.gguf"), file.write());
  const CheckpointView blocks_view = open_checkpoint(gguf_dir.file("m.gguf"));
  expect_same(made, plan_weight(blocks_view, module_of("p", n, k), {}, true));
  testing::expect_any_read_order(made);
  EXPECT_TRUE(
      is_float(plan_weight(view, module_of("p", n, k), quantization_of(view, GetParam()), false).encoding.element))
      << "a head";
}

TEST_P(GgufInFlight, EqualsLlamaQuantize) {
  const auto plain = testing::fixture("gguf-bf16"), quantized = testing::fixture("gguf-" + GetParam());
  if (plain.empty() || quantized.empty()) GTEST_SKIP() << "gguf-bf16 or gguf-" << GetParam() << " is absent";
  const CheckpointView from = open_checkpoint(plain.string()), to = open_checkpoint(quantized.string());
  const QuantizationPlan quantization = quantization_of(from, GetParam());
  EXPECT_THAT(quantization.description, HasSubstr(GetParam() + " (in flight: blocks of "));
  int n_weights = 0;
  for (const auto& [name, tensor] : to.tensors) {
    if (!name.starts_with("blk.") || tensor.shape.size() != 2) continue;
    Module module = module_of(name.substr(0, name.size() - std::string(".weight").size()),
                              static_cast<int64_t>(tensor.shape[0]), static_cast<int64_t>(tensor.shape[1]));
    if (name.ends_with("attn_q.weight") || name.ends_with("attn_k.weight"))
      module.source_row = [](int64_t r) { return r / 64 * 64 + r % 32 * 2 + r % 64 / 32; };
    expect_same(plan_weight(from, module, quantization, true), plan_weight(to, module, {}, true));
    ++n_weights;
  }
  EXPECT_EQ(n_weights, 14);
}

INSTANTIATE_TEST_SUITE_P(Types, GgufInFlight,
                         ::testing::Values("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k",
                                           "q6_k", "iq4_nl", "iq4_xs", "tq1_0", "tq2_0"),
                         [](const auto& type) { return type.param; });

/// A directory with weights of ones of each of these lengths, called "k<length>", [2, k], and experts [3, 2, 256].
class GgufInFlightSettings : public ::testing::Test {
 protected:
  GgufInFlightSettings() {
    testing::TensorWriter tensors;
    for (const int64_t k : {256, 96, 40}) {
      std::vector<float> values(static_cast<size_t>(2 * k));
      for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 37) - 11;
      tensors.add("k" + std::to_string(k) + ".weight", "F32", {2, k}, values);
    }
    std::vector<float> experts(3 * 2 * 256);
    for (size_t i = 0; i < experts.size(); ++i) experts[i] = static_cast<float>(i * i % 113) - 50;
    tensors.add("experts.weight", "F32", {3, 2, 256}, experts);
    tensors.add("second.weight", "F32", {2, 256}, std::vector<float>(experts.begin() + 512, experts.begin() + 1024));
    for (const auto& [name, value] : std::map<std::string, float>{
             {"large", 1e9f}, {"infinite", std::numeric_limits<float>::infinity()}, {"nan", std::nanf("")}}) {
      std::vector<float> values(512, 1.0f);
      values[300] = value;
      tensors.add(name + ".weight", "F32", {2, 256}, values);
    }
    view_ = tensors.open(dir_);
  }

  WeightPlan plan(const std::string& method, int64_t k) const {
    return plan_weight(view_, module_of("k" + std::to_string(k), 2, k), quantization_of(view_, method), true);
  }
  std::string usage_error(const std::string& method, const Json& config = nullptr) const {
    return failure_of(ErrorKind::usage, [&] { quantization_of(view_, method, config); });
  }

  testing::TempDir dir_;
  CheckpointView view_;
};

TEST_F(GgufInFlightSettings, OtherRowsGetTheTypesOfLlamaQuantize) {
  const std::map<std::string, std::string> fallbacks = {{"q2_k", "q4_0"},  {"q3_k", "q4_0"}, {"q4_k", "q5_0"},
                                                        {"q5_k", "q5_1"},  {"q6_k", "q8_0"}, {"iq4_xs", "iq4_nl"},
                                                        {"tq1_0", "q4_0"}, {"tq2_0", "q4_0"}};
  for (const auto& [type, id] : kGgmlTypes) {
    const auto found = fallbacks.find(type);
    const std::string other = found == fallbacks.end() ? type : found->second;
    expect_same(plan(type, 96), plan(other, 96));
    EXPECT_EQ(plan(type, 256).encoding == plan(other, 256).encoding, other == type) << type;
    EXPECT_EQ(plan(type, 40).encoding.element, Element::f32) << type;
  }
  EXPECT_FALSE(plan("q5_0", 96).encoding == plan("q5_1", 96).encoding);
}

TEST_F(GgufInFlightSettings, StackedExpertsAreMatricesOfTheirOwn) {
  Module expert = module_of("experts", 2, 256);
  expert.expert = 1, expert.n_experts = 3;
  const QuantizationPlan quantization = quantization_of(view_, "Q4_K");
  const WeightPlan alone = plan_weight(view_, module_of("second", 2, 256), quantization, true);
  expect_same(plan_weight(view_, expert, quantization, true), alone);
  EXPECT_EQ(alone.encoding.super_size, 256);
}

TEST_F(GgufInFlightSettings, FloatsThatATypeCannotHoldAreNamed) {
  for (const auto& [type, id] : kGgmlTypes) {
    for (const std::string name : {"large", "infinite", "nan"}) {
      const WeightPlan made = plan_weight(view_, module_of(name, 2, 256), quantization_of(view_, type), true);
      RowBlock rows;
      made.read(0, 1, rows);
      EXPECT_THAT(failure_of(ErrorKind::model, [&] { made.read(0, 2, rows); }),
                  HasSubstr(name + ".weight': row 1 has values that " + type + " cannot hold"));
    }
  }
}

TEST_F(GgufInFlightSettings, SayWhatIsDone) {
  EXPECT_EQ(quantization_of(view_, "q4_k").description, "q4_k (in flight: blocks of 256; other rows get blocks of 32)");
  EXPECT_EQ(quantization_of(view_, "iq4_nl").description,
            "iq4_nl (in flight: blocks of 32; other rows stay as they are)");
  EXPECT_THAT(usage_error("q4_k", {{"group_size", 32}}),
              HasSubstr("quantization_config: q4_k has no setting 'group_size'"));
}

TEST_F(GgufInFlightSettings, MixturesAndTypesThatNeedCalibrationAreRefused) {
  for (const std::string mixture : {"q2_k_s", "q3_k_l", "q4_k_m", "q5_k_s"})
    EXPECT_THAT(usage_error(mixture), HasSubstr("use '" + mixture.substr(0, 4) + "' here"));
  for (const std::string type : {"iq1_s", "iq1_m", "iq2_xxs", "iq2_m", "iq3_s"})
    EXPECT_THAT(usage_error(type), HasSubstr("quantization '" + type + "' needs an importance matrix"));
}

}  // namespace
}  // namespace packhorse
