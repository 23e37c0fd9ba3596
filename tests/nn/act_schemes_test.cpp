// Activations as every scheme of the formats rounds them, against codes and scales that were worked out elsewhere
// (golden/make_act_schemes.py), bit for bit, by every instruction set that this CPU has.

#include "formats/act_schemes.h"

#include <gtest/gtest.h>

#include <cstring>

#include "formats/format_testing.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/select.h"

namespace packhorse {
namespace {

using Code = ActScheme::Code;
using Scale = ActScheme::Scale;

struct Scheme {
  const char* name;
  ActScheme act;
  float act_scale = 1;
  int32_t act_zero = 0;
};

constexpr Scheme kSchemes[] = {
    {"int8_static", kInt8Static, 0.0375f},
    {"int8_static_asymmetric", kInt8Static, 0.0375f, -11},
    {"int8_token_127", kInt8PerToken},
    {"int8_token_127.5", {.code = Code::int8, .divisor = 127.5f}},
    {"int8_token_127.5_at_least", {.code = Code::int8, .divisor = 127.5f, .smallest = 0x1p-23f}},
    {"int8_token_asymmetric", {.code = Code::int8, .symmetric = false, .divisor = 255}},
    {"int8_token_asymmetric_at_least", {.code = Code::int8, .symmetric = false, .divisor = 255, .smallest = 0x1p-23f}},
    {"int4_token", {.code = Code::int4, .divisor = 7}},
    {"fp8_static", kFp8Static, 0.0375f},
    {"fp8_token", fp8_dynamic()},
    {"fp8_token_limited", {.code = Code::fp8, .divisor = 448, .limit = 2}},
    {"fp8_group_128", fp8_dynamic(128)},
    {"fp8_group_128_power", fp8_dynamic(128, Scale::power_ceil)},
    {"fp8_e5m2_token", {.code = Code::fp8_e5m2, .divisor = 57344}},
    {"mxfp8_ceil", mx_act(Code::fp8, Scale::power_ceil)},
    {"mxfp8_even", mx_act(Code::fp8, Scale::power_even)},
    {"mxfp8_floor", mx_act(Code::fp8, Scale::power_floor)},
    {"mxfp4_even", mx_act(Code::e2m1, Scale::power_even)},
    {"mxfp4_floor", mx_act(Code::e2m1, Scale::power_floor)},
    {"nvfp4", kNvfp4Act, 0.0375f},
};

class ActSchemes : public ::testing::TestWithParam<Scheme> {};

TEST_P(ActSchemes, give_the_codes_and_scales_of_the_golden) {
  const testing::TensorFile golden(testing::golden_dir() / "act_schemes.safetensors");
  const std::string name = GetParam().name;
  const std::vector<float> x = golden.get<float>("x"), codes = golden.get<float>(name + ".codes"),
                           scales = golden.get<float>(name + ".scales"), zeros = golden.get<float>(name + ".zeros");
  const auto rows = static_cast<int64_t>(golden.info("x").shape[0]),
             k = static_cast<int64_t>(golden.info("x").shape[1]);
  const auto n_groups = static_cast<int64_t>(golden.info(name + ".scales").shape[1]);
  const int64_t group = GetParam().act.group ? GetParam().act.group : k;
  ASSERT_EQ(n_groups, (k + group - 1) / group);
  std::vector<float> want(x.size());
  for (int64_t i = 0; i < rows * k; ++i) {
    const auto g = static_cast<size_t>(i / k * n_groups + i % k / group), at = static_cast<size_t>(i);
    want[at] = (codes[at] - zeros[g]) * scales[g];
  }
  for (const KernelSet* set : kernel_sets()) {
    if ((set->needs & ~cpu::features()) != 0) continue;
    std::vector<float> got(x.size());
    KernelSelector(set->name)
        .choose({.op = Op::round_act}, "test")
        .kernel->run.round_act({.x = x.data(),
                                .y = got.data(),
                                .k = k,
                                .scheme = GetParam().act,
                                .act_scale = GetParam().act_scale,
                                .act_zero = GetParam().act_zero},
                               0, rows);
    EXPECT_EQ(got, want) << set->name;
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, ActSchemes, ::testing::ValuesIn(kSchemes), [](const auto& test) {
  std::string name = test.param.name;
  std::ranges::replace(name, '.', '_');
  return name;
});

}  // namespace
}  // namespace packhorse
