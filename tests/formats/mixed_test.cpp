// Checkpoints whose modules are in several dialects: each is read by what its tensors are.

#include <gmock/gmock.h>

#include "formats/format_testing.h"

namespace packhorse {
namespace {

using testing::failure_of;
using ::testing::HasSubstr;
using testing::module_of;

constexpr int64_t kN = 32, kK = 32;

/// A 4-bit GPTQ weight: all codes 9, zero points 8, scales 0.5.
void add_gptq(testing::TensorWriter& tensors, const std::string& name) {
  tensors.add(name + ".qweight", "I32", {kK / 8, kN}, std::vector<uint32_t>(kK / 8 * kN, 0x99999999));
  tensors.add(name + ".qzeros", "I32", {1, kN / 8}, std::vector<uint32_t>(kN / 8, 0x77777777));
  tensors.add(name + ".scales", "F16", {1, kN}, std::vector<uint16_t>(kN, 0x3800));
}
void add_plain(testing::TensorWriter& tensors, const std::string& name) {
  tensors.add(name + ".weight", "F32", {kN, kK}, std::vector<float>(kN * kK, 2.0f));
}
/// All codes 1.5, scale 2.
void add_fp8(testing::TensorWriter& tensors, const std::string& name) {
  tensors.add(name + ".weight", "F8_E4M3", {kN, kK}, std::vector<uint8_t>(kN * kK, 0x3c));
  tensors.add(name + ".weight_scale", "F32", {1}, std::vector<float>{2});
}

Json gptq_settings() { return {{"quant_method", "gptq"}, {"bits", 4}, {"group_size", -1}, {"sym", true}}; }

TEST(Mixed, fault_055_modules_of_several_methods) {
  testing::TensorWriter tensors;
  add_gptq(tensors, "a"), add_plain(tensors, "b"), add_fp8(tensors, "c");
  tensors.add("d.qweight", "I32", {kK / 8, kN}, std::vector<uint32_t>(kK / 8 * kN));
  tensors.add("e.strange", "I32", {2}, std::vector<uint32_t>(2));
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir, gptq_settings());
  const auto first = [&](const char* name) {
    return testing::decoded_rows(plan_weight(view, module_of(name, kN, kK), {}, true), 0, 1).front();
  };
  EXPECT_EQ(first("a"), 0.5f);
  EXPECT_EQ(first("b"), 2.0f);
  EXPECT_EQ(first("c"), 3.0f);
  const auto failure = [&](const char* name) { return failure_of(ErrorKind::model, [&] { first(name); }); };
  EXPECT_THAT(failure("d"), HasSubstr("'d."));
  EXPECT_THAT(failure("e"), HasSubstr("'e.strange'"));
  EXPECT_THAT(failure("f"), HasSubstr("missing tensor 'f.weight'"));
}

// What a list says is not converted yields to the tensors, whether it names too little or too much.
TEST(Mixed, fault_055_lists_that_fit_nothing_or_everything) {
  for (const char* entry : {"nothing", "re:.*", "*", "a", ""}) {
    for (const char* method : {"awq", "fp8"}) {
      const bool is_awq = std::string_view(method) == "awq";
      testing::TensorWriter tensors;
      add_plain(tensors, "b");
      if (is_awq) {
        tensors.add("a.qweight", "I32", {kK, kN / 8}, std::vector<uint32_t>(kK * kN / 8, 0x99999999));
        tensors.add("a.qzeros", "I32", {1, kN / 8}, std::vector<uint32_t>(kN / 8, 0x88888888));
        tensors.add("a.scales", "F16", {1, kN}, std::vector<uint16_t>(kN, 0x3800));
      } else {
        add_fp8(tensors, "a");
      }
      Json settings = {{"quant_method", method}, {"modules_to_not_convert", {entry}}};
      if (is_awq)
        settings.update({{"bits", 4}, {"group_size", -1}, {"zero_point", true}});
      else
        settings["activation_scheme"] = "dynamic";
      const testing::TempDir dir;
      const CheckpointView view = tensors.open(dir, settings);
      const auto first = [&](const char* name) {
        return testing::decoded_rows(plan_weight(view, module_of(name, kN, kK), {}, true), 0, 1).front();
      };
      EXPECT_EQ(first("a"), is_awq ? 0.5f : 3.0f) << method << " " << entry;
      EXPECT_EQ(first("b"), 2.0f) << method << " " << entry;
    }
  }
}

}  // namespace
}  // namespace packhorse
