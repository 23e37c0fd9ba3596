#include "formats/bitsandbytes.h"

#include <gmock/gmock.h>

#include <random>

#include "format_testing.h"

namespace packhorse {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::module_of;

TEST(Bitsandbytes, WhatTheToolLeftAloneIsPlain) {
  const CheckpointView view = open_checkpoint(testing::fixture("bnb-int8").string());
  EXPECT_EQ(plan_weight(view, module_of("model.embed_tokens", 1024, 256), {}, false).encoding.element, Element::bf16);
}

/// A 4-bit weight made of random codes, written without the library's code, and what it decodes to.
struct Written {
  int64_t n, k;
  uint32_t block;
  bool nested;
  std::vector<float> values;  // [n, k]
  testing::TensorWriter tensors;
  Json state;
};

Written write_4bit(int64_t n, int64_t k, uint32_t block, bool nested, const CodeTable& table = kNf4,
                   const std::string& storage = "U8") {
  std::mt19937 random(static_cast<uint32_t>(n * 1000 + k + block));
  std::uniform_real_distribution<float> uniform(0.01f, 2.0f);
  Written out{n, k, block, nested, std::vector<float>(static_cast<size_t>(n * k)), {}, {}};
  const auto n_codes = static_cast<size_t>(n * k), n_blocks = (n_codes + block - 1) / block;
  std::vector<uint8_t> packed((n_codes + 1) / 2), codes8(n_blocks);
  std::vector<float> scales(n_blocks), nested_absmax((n_blocks + 255) / 256), map(256);
  for (float& m : map) m = uniform(random) - 1;
  for (float& a : nested_absmax) a = uniform(random);
  for (size_t b = 0; b < n_blocks; ++b) {
    codes8[b] = static_cast<uint8_t>(random());
    const float product = map[codes8[b]] * nested_absmax[b / 256];
    scales[b] = nested ? product + 0.75f : uniform(random);
  }
  for (size_t i = 0; i < n_codes; ++i) {
    const auto code = static_cast<uint8_t>(random() % 16);
    packed[i / 2] = static_cast<uint8_t>(packed[i / 2] | (i % 2 ? code : code << 4));
    out.values[i] = table.values[code] * scales[i / block];
  }
  const auto as_bytes = static_cast<int64_t>(packed.size());
  const int64_t item = storage == "U8" ? 1 : storage == "BF16" ? 2 : 4;
  out.tensors.add("p.weight", storage, {as_bytes / item, 1}, packed);
  if (nested) {
    out.tensors.add("p.weight.absmax", "U8", {static_cast<int64_t>(n_blocks)}, codes8);
    out.tensors.add("p.weight.nested_absmax", "F32", {static_cast<int64_t>(nested_absmax.size())}, nested_absmax);
    out.tensors.add("p.weight.nested_quant_map", "F32", {256}, map);
  } else {
    out.tensors.add("p.weight.absmax", "F32", {static_cast<int64_t>(n_blocks)}, scales);
  }
  out.tensors.add("p.weight.quant_map", "F32", {16}, std::vector<float>(table.values, table.values + 16));
  out.state = {{"quant_type", table.name}, {"blocksize", block}, {"dtype", "bfloat16"}, {"shape", {n, k}}};
  if (nested) out.state.update({{"nested_blocksize", 256}, {"nested_dtype", "float32"}, {"nested_offset", 0.75}});
  out.tensors.add_text(std::string("p.weight.quant_state.bitsandbytes__") + table.name, out.state.dump());
  return out;
}

WeightPlan planned(const testing::TensorWriter& tensors, CheckpointView& view, int64_t n, int64_t k) {
  const testing::TempDir dir;
  view = tensors.open(dir);
  return plan_weight(view, module_of("p", n, k), {}, true);
}

void expect_read(const Written& written) {
  CheckpointView view;
  const WeightPlan plan = planned(written.tensors, view, written.n, written.k);
  EXPECT_EQ(plan.encoding.grouping, (Grouping{GroupKind::flat, written.block}));
  EXPECT_EQ(testing::decoded_rows(plan, 0, written.n), written.values) << written.k << " by " << written.block;
  testing::expect_any_read_order(plan);
}

TEST(Bitsandbytes, BlocksThatCrossRows) {
  for (const bool nested : {false, true}) {
    expect_read(write_4bit(19, 72, 64, nested));
    expect_read(write_4bit(24, 96, 64, nested, kFp4));
    expect_read(write_4bit(7, 200, 4096, nested));  // one short block holds all
    expect_read(write_4bit(21, 33, 32, nested));  // rows begin in the middle of a byte, and the last byte is half used
    expect_read(write_4bit(40, 1, 64, nested));
    expect_read(write_4bit(300, 640, 128, nested));  // more than one nested block
    for (uint32_t block = 32; block <= 4096; block *= 2) expect_read(write_4bit(64, 80, block, nested));
  }
}

TEST(Bitsandbytes, StorageTypeIsOnlyAName) {
  expect_read(write_4bit(16, 64, 64, true, kNf4, "BF16"));
  expect_read(write_4bit(16, 64, 64, false, kFp4, "F32"));
}

TEST(Bitsandbytes, RowsOfAnotherOrderInTheFile) {
  const Written written = write_4bit(16, 72, 64, true);
  const testing::TempDir dir;
  const CheckpointView view = written.tensors.open(dir);
  Module module = module_of("p", 16, 72);
  module.source_row = [](int64_t r) { return r % 2 ? r : 14 - r; };
  const std::vector<float> rows = testing::decoded_rows(plan_weight(view, module, {}, true), 0, 16);
  for (int64_t r = 0; r < 16; ++r) {
    const int64_t from = module.source_row(r);
    EXPECT_TRUE(std::equal(rows.begin() + r * 72, rows.begin() + (r + 1) * 72, written.values.begin() + from * 72))
        << r;
  }
}

TEST(Bitsandbytes, Int8RowsAndThreshold) {
  testing::TensorWriter tensors;
  tensors.add("p.weight", "I8", {2, 3}, std::vector<int8_t>{-127, 0, 5, 127, -1, -128});
  tensors.add("p.SCB", "F32", {2}, std::vector<float>{0.5f, 3});
  const testing::TempDir dir;
  const CheckpointView view = tensors.open(dir, {{"quant_method", "bitsandbytes"}, {"llm_int8_threshold", 4.5}});
  const WeightPlan plan = plan_weight(view, module_of("p", 2, 3), {}, true);
  EXPECT_EQ(plan.encoding.act,
            (ActScheme{.code = ActScheme::Code::llm_int8, .product = kInt8Product, .outlier_threshold = 4.5f}));
  EXPECT_EQ(testing::decoded_rows(plan, 1, 1),
            (std::vector<float>{127.0f * 3 * kInt8Factor, -3 * kInt8Factor, -128.0f * 3 * kInt8Factor}));

  const auto failure = [&](const Json& config) {
    const CheckpointView changed = tensors.open(dir, config);
    return testing::failure_of(ErrorKind::model, [&] { plan_weight(changed, module_of("p", 2, 3), {}, true); });
  };
  EXPECT_THAT(failure({{"llm_int8_threshold", "six"}}), HasSubstr("llm_int8_threshold"));
  tensors.add("p.weight_format", "U8", {}, std::vector<uint8_t>{0});
  EXPECT_EQ(plan_weight(tensors.open(dir), module_of("p", 2, 3), {}, true).encoding.act.outlier_threshold, 6);
  tensors.add("p.weight_format", "U8", {}, std::vector<uint8_t>{2});
  EXPECT_THAT(failure(nullptr), AllOf(HasSubstr("p.weight_format"), HasSubstr("got 2")));
  tensors.remove("p.weight_format");
  tensors.add("p.SCB", "F32", {3}, std::vector<float>(3));
  EXPECT_THAT(failure(nullptr), AllOf(HasSubstr("p.SCB"), HasSubstr("got 3")));
}

/// One line of a quant_state that must be refused.
void expect_state_refused(const Written& good, const Json& change, std::string_view message) {
  Json state = good.state;
  for (const auto& [key, value] : change.items()) {
    if (value.is_null())
      state.erase(key);
    else
      state[key] = value;
  }
  testing::TensorWriter tensors = good.tensors;
  tensors.add_text("p.weight.quant_state.bitsandbytes__nf4", state.dump());
  CheckpointView view;
  const std::string got = testing::failure_of(ErrorKind::model, [&] { planned(tensors, view, good.n, good.k); });
  EXPECT_THAT(got, AllOf(HasSubstr("model.safetensors: tensor 'p.weight.quant_state.bitsandbytes__nf4': "),
                         HasSubstr(std::string(message))));
}

TEST(Bitsandbytes, fault_053_bad_quant_state) {
  const Written good = write_4bit(16, 64, 64, true);
  expect_read(good);
  for (const Json& block :
       {Json(0), Json(16), Json(48), Json(8192), Json(-64), Json(64.0), Json("64"), Json(nullptr)}) {
    expect_state_refused(good, {{"blocksize", block}}, "blocksize: not a power of two in 32..4096");
  }
  expect_state_refused(good, {{"nested_blocksize", 0}}, "nested_blocksize");
  expect_state_refused(good, {{"nested_offset", nullptr}}, "nested_offset: not a finite number (got nothing)");
  expect_state_refused(good, {{"nested_offset", 1e300}}, "nested_offset");
  expect_state_refused(good, {{"quant_type", "fp4"}}, "quant_type");
  expect_state_refused(good, {{"shape", {64, 16}}}, "shape: does not fit the model (got [64,16], expected [16, 64])");
  expect_state_refused(good, {{"shape", {1024}}}, "shape");
  for (const std::string_view text : {"", "{", "[]", "{\"blocksize\": 64, \"blocksize\": 64}", "\xff", "{} x"}) {
    testing::TensorWriter tensors = good.tensors;
    tensors.add_text("p.weight.quant_state.bitsandbytes__nf4", text);
    CheckpointView view;
    const std::string got = testing::failure_of(ErrorKind::model, [&] { planned(tensors, view, 16, 64); });
    EXPECT_THAT(got, HasSubstr("tensor 'p.weight.quant_state.bitsandbytes__nf4': ")) << text;
  }
  testing::TensorWriter tensors = good.tensors;
  tensors.add_text("p.weight.quant_state.bitsandbytes__nf4", std::string(100000, ' '));
  CheckpointView view;
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { planned(tensors, view, 16, 64); }),
              HasSubstr("at most 65536 bytes"));
}

TEST(Bitsandbytes, fault_053_bad_tables_and_statistics) {
  const Written good = write_4bit(16, 64, 64, true);
  expect_read(good);
  const auto failure = [&](auto&& change) {
    testing::TensorWriter tensors = good.tensors;
    change(tensors);
    CheckpointView view;
    return testing::failure_of(ErrorKind::model, [&] { planned(tensors, view, 16, 64); });
  };
  std::vector<float> table(kNf4.values, kNf4.values + 16);
  table[3] = 0.5f;
  EXPECT_THAT(failure([&](auto& t) { t.add("p.weight.quant_map", "F32", {16}, table); }),
              AllOf(HasSubstr("'p.weight.quant_map'"), HasSubstr("entry 3 is not that of nf4 (got 0.5")));
  EXPECT_THAT(failure([&](auto& t) { t.add("p.weight.quant_map", "F32", {15}, std::vector<float>(15)); }),
              AllOf(HasSubstr("'p.weight.quant_map'"), HasSubstr("got 15 in [15], expected 16")));
  EXPECT_THAT(failure([](auto& t) { t.remove("p.weight.quant_map"); }),
              HasSubstr("missing tensor 'p.weight.quant_map'"));
  EXPECT_THAT(failure([](auto& t) { t.remove("p.weight.absmax"); }), HasSubstr("missing tensor 'p.weight.absmax'"));
  EXPECT_THAT(failure([](auto& t) { t.remove("p.weight.nested_absmax"); }),
              HasSubstr("missing tensor 'p.weight.nested_absmax'"));
  EXPECT_THAT(failure([](auto& t) { t.remove("p.weight.nested_quant_map"); }),
              HasSubstr("missing tensor 'p.weight.nested_quant_map'"));
  EXPECT_THAT(failure([](auto& t) { t.add("p.weight.nested_quant_map", "F32", {255}, std::vector<float>(255)); }),
              AllOf(HasSubstr("'p.weight.nested_quant_map'"), HasSubstr("expected 256")));
  EXPECT_THAT(failure([](auto& t) { t.add("p.weight.absmax", "U8", {15}, std::vector<uint8_t>(15)); }),
              AllOf(HasSubstr("'p.weight.absmax'"), HasSubstr("got 15 in [15], expected 16")));
  EXPECT_THAT(failure([](auto& t) { t.add("p.weight.absmax", "F16", {16}, std::vector<uint16_t>(16)); }),
              HasSubstr("wrong dtype (got F16, expected F32)"));
  EXPECT_THAT(failure([](auto& t) {
                t.add("p.weight", "U8", {511, 1}, std::vector<uint8_t>(511));
              }),
              AllOf(HasSubstr("'p.weight'"), HasSubstr("got 511 bytes")));
  EXPECT_THAT(failure([](auto& t) { t.remove("p.weight"); }), HasSubstr("missing tensor 'p.weight'"));
}

}  // namespace
}  // namespace packhorse
