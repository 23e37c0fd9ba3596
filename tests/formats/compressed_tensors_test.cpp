#include <gmock/gmock.h>

#include <random>

#include "base/half.h"
#include "format_testing.h"

namespace packhorse {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::module_of;

/// A checkpoint, and what a module of it says of its weights and inputs.
struct Known {
  const char* name;
  const char* module;
  const char* encoding;
};

void PrintTo(const Known& known, std::ostream* out) { *out << known.name; }

constexpr const char* kQ = "model.layers.0.self_attn.q_proj";
constexpr const char* kDown = "model.layers.0.mlp.down_proj";
constexpr Known kCheckpoints[] = {
    {"autoround-llm_compressor", kQ, "int4, groups of 128, f16 scale"},
    {"ct-24-sparse-bf16", kQ, "bf16"},
    {"ct-24-sparse-fp8", kQ, "e4m3, per row, f32 scale, fp8 per token activations"},
    {"ct-24-sparse-w4a16", kQ, "int4, groups of 128, f16 scale"},
    {"ct-fp8-block", kQ, "e4m3, groups of 128, f32 scale, fp8 in groups of 128 activations"},
    {"ct-fp8-dynamic", kQ, "e4m3, per row, f32 scale, fp8 per token activations"},
    {"ct-fp8-static", kQ, "e4m3, per row, f32 scale, static fp8 activations"},
    {"ct-ignore-mixed", kQ, "e4m3, per row, f32 scale, fp8 per token activations"},
    {"ct-ignore-mixed", kDown, "int4, groups of 128, bf16 scale"},
    {"ct-ignore-mixed", "model.layers.1.mlp.down_proj", "bf16"},
    {"ct-kv-fp8", kQ, "e4m3, per row, f32 scale, fp8 per token activations"},
    {"ct-mixtral-fp8", "model.layers.1.block_sparse_moe.experts.3.w2",
     "e4m3, per row, f32 scale, fp8 per token activations"},
    {"ct-mixtral-w4a16", "model.layers.1.block_sparse_moe.experts.3.w2", "int4, groups of 64, bf16 scale"},
    {"ct-mxfp4", kQ, "e2m1, groups of 32, e8m0 scale, e2m1 in groups of 32 activations"},
    {"ct-mxfp4a16", kQ, "e2m1, groups of 32, e8m0 scale"},
    {"ct-mxfp8", kQ, "e4m3, groups of 32, e8m0 scale, fp8 in groups of 32 activations"},
    {"ct-nvfp4", kQ, "e2m1, groups of 16, e4m3 scale times f32 per row, e2m1 in groups of 16 activations"},
    {"ct-nvfp4a16", kQ, "e2m1, groups of 16, e4m3 scale times f32 per row"},
    {"ct-w3a16", kQ, "int3, groups of 128, bf16 scale"},
    {"ct-w4a16-actorder", kQ, "int4, groups of 128, bf16 scale"},
    {"ct-w4a16-actorder-static", kQ, "int4, groups of 128, bf16 scale"},
    {"ct-w4a16-g128", kQ, "int4, groups of 128, bf16 scale"},
    {"ct-w4a16-g64-asym", kQ, "int4, groups of 64, bf16 scale and u8 zero point"},
    {"ct-w4a8", kQ, "int4, groups of 128, bf16 scale, int8 per token activations"},
    {"ct-w4afp8", kQ, "int4, groups of 128, bf16 scale, fp8 per token activations"},
    {"ct-w8a16", kQ, "int8, groups of 128, bf16 scale"},
    {"ct-w8a16-channel", kQ, "int8, per row, bf16 scale"},
    {"ct-w8a8-asym", kQ, "int8, per row, bf16 scale, static int8 activations"},
    {"ct-w8a8-asym-dynamic", kQ, "int8, per row, bf16 scale, int8 per token activations"},
    {"ct-w8a8-int8", kQ, "int8, per row, bf16 scale, int8 per token activations"},
    {"ct-w8a8-int8-static", kQ, "int8, per row, bf16 scale, static int8 activations"},
};

class CompressedTensorsFixture : public ::testing::TestWithParam<Known> {};

TEST_P(CompressedTensorsFixture, EncodingOfAModule) {
  const auto& [checkpoint, name, encoding] = GetParam();
  const auto dir = testing::fixture(checkpoint);
  if (dir.empty()) GTEST_SKIP() << checkpoint << " is absent";
  const CheckpointView view = open_checkpoint(dir.string());
  const std::string_view leaf = name;
  Module module = module_of(name, 256, 256);
  if (leaf.ends_with("down_proj")) module.k = view.config.at("intermediate_size");
  if (leaf.ends_with("w2")) module.n = 128, module.k = view.config.at("intermediate_size");
  EXPECT_EQ(describe(plan_weight(view, module, {}, true).encoding), encoding);
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, CompressedTensorsFixture, ::testing::ValuesIn(kCheckpoints));

enum class Zeros { none, packed, bytes };

/// How to write a weight, and what is there beside it.
struct Written {
  int bits = 4;
  int64_t n = 0, k = 0, group = 0;  // 0 = one group per row, -1 = one for the matrix
  Zeros zeros = Zeros::none;
  const char* scale_type = "BF16";
  bool is_stream = true;
  std::vector<float> values = {};  // [n, k]
  testing::TensorWriter tensors = {};
  Json config = {};

  int64_t n_groups() const { return group > 0 ? (k + group - 1) / group : 1; }
};

/// `count` codes as 32-bit words, bit by bit.
std::vector<uint32_t> words_of(const std::vector<uint8_t>& codes, int bits, bool is_stream) {
  const auto n = static_cast<int64_t>(codes.size()), per_word = int64_t{32} / bits;
  std::vector<uint32_t> words(static_cast<size_t>(is_stream ? (n * bits + 31) / 32 : (n + per_word - 1) / per_word));
  for (int64_t i = 0; i < n * bits; ++i) {
    const int64_t place = is_stream ? i : i / bits / per_word * 32 + i / bits % per_word * bits + i % bits;
    const uint32_t bit = codes[static_cast<size_t>(i / bits)] >> (i % bits) & 1;
    words[static_cast<size_t>(place / 32)] |= bit << (place % 32);
  }
  return words;
}

Json config_of(const Json& weights) {
  return {{"quant_method", "compressed-tensors"},
          {"format", "pack-quantized"},
          {"ignore", {"lm_head"}},
          {"config_groups", {{"group_0", {{"targets", {"Linear"}}, {"weights", weights}}}}}};
}

Written write(Written out) {
  std::mt19937 random(static_cast<uint32_t>(out.bits * 1000 + out.n * 7 + out.k));
  const int64_t groups = out.n_groups(), n_scales = out.group < 0 ? 1 : out.n * groups;
  const int middle = 1 << (out.bits - 1);
  std::vector<float> scales(static_cast<size_t>(n_scales));
  for (float& s : scales) s = bf16_to_f32(f32_to_bf16(static_cast<float>(random() % 1000 + 1) / 512));
  std::vector<int> zeros(static_cast<size_t>(out.n * groups));
  if (out.zeros != Zeros::none) {
    for (int& z : zeros) z = static_cast<int>(random() % (2u * static_cast<uint32_t>(middle))) - middle;
  }
  std::vector<uint32_t> packed;
  std::vector<uint8_t> row(static_cast<size_t>(out.k));
  for (int64_t r = 0; r < out.n; ++r) {
    for (int64_t k = 0; k < out.k; ++k) {
      const int q = static_cast<int>(random() % (2u * static_cast<uint32_t>(middle))) - middle;
      const int64_t g = out.group > 0 ? k / out.group : 0;
      row[static_cast<size_t>(k)] = static_cast<uint8_t>(q + middle);
      const float scale = scales[static_cast<size_t>(out.group < 0 ? 0 : r * groups + g)];
      out.values.push_back(static_cast<float>(q - zeros[static_cast<size_t>(r * groups + g)]) * scale);
    }
    for (const uint32_t word : words_of(row, out.bits, out.is_stream)) packed.push_back(word);
  }
  out.tensors.add("p.weight_packed", "I32", {out.n, static_cast<int64_t>(packed.size()) / out.n}, packed);
  out.tensors.add("p.weight_shape", "I64", {2}, std::vector<int64_t>{out.n, out.k});
  const std::vector<int64_t> shape = out.group < 0 ? std::vector<int64_t>{1} : std::vector<int64_t>{out.n, groups};
  const std::string type = out.scale_type;
  std::vector<uint16_t> halves;
  for (const float s : scales) halves.push_back(type == "BF16" ? f32_to_bf16(s) : f32_to_f16(s));
  if (type == "F32")
    out.tensors.add("p.weight_scale", type, shape, scales);
  else
    out.tensors.add("p.weight_scale", type, shape, halves);
  if (out.zeros == Zeros::bytes)
    out.tensors.add("p.weight_zero_point", "I8", {out.n, groups}, std::vector<int8_t>(zeros.begin(), zeros.end()));
  if (out.zeros == Zeros::packed) {
    std::vector<std::vector<uint32_t>> columns;
    for (int64_t g = 0; g < groups; ++g) {
      std::vector<uint8_t> column;
      for (int64_t r = 0; r < out.n; ++r)
        column.push_back(static_cast<uint8_t>(zeros[static_cast<size_t>(r * groups + g)] + middle));
      columns.push_back(words_of(column, out.bits, out.is_stream));
    }
    std::vector<uint32_t> words;
    for (size_t w = 0; w < columns[0].size(); ++w) {
      for (const auto& column : columns) words.push_back(column[w]);
    }
    out.tensors.add("p.weight_zero_point", "I32", {static_cast<int64_t>(columns[0].size()), groups}, words);
  }
  Json weights = {{"num_bits", out.bits}, {"type", "int"}, {"symmetric", out.zeros == Zeros::none}};
  if (out.group > 0) weights["group_size"] = out.group;
  out.config = config_of(weights);
  return out;
}

WeightPlan planned(const Written& written, CheckpointView& view) {
  const testing::TempDir dir;
  view = written.tensors.open(dir, written.config);
  return plan_weight(view, module_of("p", written.n, written.k), {}, true);
}

void expect_read(const Written& written) {
  CheckpointView view;
  const WeightPlan plan = planned(written, view);
  EXPECT_EQ(testing::decoded_rows(plan, 0, written.n), written.values)
      << describe(plan.encoding) << (written.is_stream ? "" : ", in words");
  testing::expect_any_read_order(plan);
}

TEST(CompressedTensors, EveryWidthWithZeroPointsAndWithout) {
  for (int bits = 1; bits <= 8; ++bits) {
    for (const Zeros zeros : {Zeros::none, Zeros::packed, Zeros::bytes}) {
      for (const bool is_stream : {true, false}) {
        expect_read(write({.bits = bits, .n = 37, .k = 256, .group = 64, .zeros = zeros, .is_stream = is_stream}));
      }
    }
  }
}

TEST(CompressedTensors, WidthsThatAreTheSameInBothPackings) {
  for (const bool is_stream : {true, false}) {  // 12 words of 5 bits, 2 of 3 bits, 1 of 6 bits
    expect_read(write({.bits = 5, .n = 37, .k = 72, .group = 24, .zeros = Zeros::packed, .is_stream = is_stream}));
    expect_read(write({.bits = 3, .n = 37, .k = 20, .zeros = Zeros::none, .is_stream = is_stream}));
  }
}

TEST(CompressedTensors, GroupsAndScaleTypes) {
  for (const char* type : {"BF16", "F16", "F32"}) {
    for (const int64_t group : {int64_t{-1}, int64_t{0}, int64_t{32}, int64_t{48}, int64_t{300}}) {
      expect_read(write({.n = 8, .k = 300, .group = group, .zeros = Zeros::packed, .scale_type = type}));
      expect_read(write({.bits = 8, .n = 5, .k = 300, .group = group, .scale_type = type}));
    }
  }
}

TEST(CompressedTensors, EncodingSaysWhatTheKernelsNeed) {
  CheckpointView view;
  EXPECT_EQ(planned(write({.n = 8, .k = 300, .group = 128}), view).encoding,
            (Encoding{.element = Element::integer,
                      .bits = 4,
                      .offset = 8,
                      .grouping = {GroupKind::along_k, 128},
                      .scale = ScaleType::bf16}));
  EXPECT_EQ(planned(write({.bits = 8, .n = 8, .k = 300, .zeros = Zeros::packed, .scale_type = "F16"}), view).encoding,
            (Encoding{.element = Element::integer,
                      .bits = 8,
                      .grouping = {GroupKind::row, 0},
                      .scale = ScaleType::f16,
                      .zero = ScaleType::u8}));
}

TEST(CompressedTensors, RowsOfAnotherOrder) {
  const Written written = write({.n = 16, .k = 96, .group = 32, .zeros = Zeros::packed});
  const testing::TempDir dir;
  const CheckpointView view = written.tensors.open(dir, written.config);
  Module module = module_of("p", 16, 96);
  module.source_row = [](int64_t r) { return r % 2 ? r : 14 - r; };
  const std::vector<float> rows = testing::decoded_rows(plan_weight(view, module, {}, true), 0, 16);
  for (int64_t r = 0; r < 16; ++r) {
    EXPECT_TRUE(std::equal(rows.begin() + r * 96, rows.begin() + (r + 1) * 96,
                           written.values.begin() + module.source_row(r) * 96))
        << r;
  }
}

/// Width that the plan of a weight of `bits` has as module `name` under these groups.
uint8_t width_of(const Json& groups, const std::string& name, int bits) {
  const Written written = write({.bits = bits, .n = 4, .k = 64, .group = 32});
  const testing::TempDir dir;
  const CheckpointView view =
      written.tensors.open(dir, {{"quant_method", "compressed-tensors"}, {"config_groups", groups}});
  Module module = module_of("p", 4, 64);
  module.name = name;
  return plan_weight(view, module, {}, true).encoding.bits;
}

TEST(CompressedTensors, TargetsByNameExpressionAndClass) {
  const auto group = [](int bits, const Json& targets) {
    return Json{{"targets", targets}, {"weights", {{"num_bits", bits}, {"group_size", 32}}}};
  };
  const Json groups = {{"group_0", group(4, {"Linear"})},
                       {"group_1", group(8, {"re:.*layers\\.1\\..*down_proj$", "lm_head"})},
                       {"group_2", group(2, {"re:.*layers\\.1\\."})},
                       {"group_3", group(5, {"Embedding"})}};
  EXPECT_EQ(width_of(groups, "model.layers.0.mlp.down_proj", 4), 4);
  EXPECT_EQ(width_of(groups, "model.layers.1.mlp.down_proj", 8), 8);
  EXPECT_EQ(width_of(groups, "model.layers.1.mlp.up_proj", 2), 2) << "an expression matches the beginning alone";
  EXPECT_EQ(width_of(groups, "lm_head", 8), 8);
  EXPECT_EQ(width_of(groups, "model.embed_tokens", 5), 5);
  EXPECT_EQ(width_of({{"W3A16", {"Linear"}}}, "model.layers.0.mlp.up_proj", 3), 3) << "a preset by its name";
  EXPECT_EQ(width_of({{"a", {{"targets", {"LlamaAttention"}}}}, {"b", group(4, {"Linear"})}}, "p", 4), 4)
      << "a group for attention says nothing of weights";

  const auto failure = [](const Json& bad) {
    return testing::failure_of(ErrorKind::model, [&] { width_of(bad, "p", 4); });
  };
  EXPECT_THAT(failure({{"g", group(4, {"re:q", "Conv2d"})}}), HasSubstr("config_groups: no target fits 'p'"));
  EXPECT_THAT(failure({{"g", group(4, {"re:a("})}}), HasSubstr("config_groups.g.targets: expression 'a('"));
  EXPECT_THAT(failure({{"g", group(4, "Linear")}}), HasSubstr("config_groups.g.targets: expected a list of names"));
  EXPECT_THAT(failure({{"g", {{"targets", {"Linear"}}}}}), HasSubstr("config_groups.g.weights: expected an object"));
  EXPECT_THAT(failure({{"W9A8", {"Linear"}}}), HasSubstr("config_groups.W9A8: not the name of a preset"));
  EXPECT_THAT(failure(17), HasSubstr("config_groups: expected an object (got 17)"));
}

/// The message after a change to the settings of a weight that reads well.
std::string failure_with(const Json& change, const Written& good) {
  Written changed = good;
  changed.config.merge_patch(change);
  CheckpointView view;
  return testing::failure_of(ErrorKind::model, [&] { planned(changed, view); });
}

TEST(CompressedTensors, fault_050_settings_out_of_range) {
  const Written good = write({.n = 16, .k = 256, .group = 64});
  expect_read(good);
  const auto failure = [&](const char* key, const Json& value) {
    return failure_with({{"config_groups", {{"group_0", {{"weights", {{key, value}}}}}}}}, good);
  };
  for (const Json& bits : {Json(0), Json(3.5), Json(17), Json("4"), Json(-4)}) {
    EXPECT_THAT(failure("num_bits", bits), HasSubstr(fmt::format("quantization_config: config_groups.group_0.weights."
                                                                 "num_bits: not a whole number in 1..8 (got {})",
                                                                 bits.dump())));
  }
  for (const Json& size : {Json(0), Json(-2), Json(1.5), Json("128")}) {
    EXPECT_THAT(failure("group_size", size), AllOf(HasSubstr("weights.group_size"), HasSubstr("got " + size.dump())));
  }
  EXPECT_THAT(failure("group_size", 128), AllOf(HasSubstr("groups of 128"), HasSubstr("weight_scale [16, 4]"),
                                                HasSubstr("config_groups.group_0.weights")));
  EXPECT_THAT(failure("group_size", -1), HasSubstr("weight_scale [16, 4]"));
  EXPECT_THAT(failure("num_bits", 8), AllOf(HasSubstr("8 bits"), HasSubstr("weight_packed [16, 32]")));
  EXPECT_THAT(failure("type", "float"), HasSubstr("weights.type: weights in integers are int (got \"float\")"));
}

TEST(CompressedTensors, fault_052_shapes_that_do_not_fit) {
  const Written good = write({.n = 16, .k = 256, .group = 64, .zeros = Zeros::packed});
  expect_read(good);
  const auto failure = [&](auto&& change) {
    Written changed = good;
    change(changed.tensors);
    CheckpointView view;
    return testing::failure_of(ErrorKind::model, [&] { planned(changed, view); });
  };
  const auto shapes = [](const char* packed, const char* scale, const char* zero) {
    return HasSubstr(
        fmt::format("tensor 'p.weight_packed': shapes do not fit a matrix [16, 256] of 4 bits in groups of "
                    "64 (got weight_packed {}, weight_scale {}, weight_zero_point {}",
                    packed, scale, zero));
  };
  EXPECT_THAT(failure([](auto& t) {
                t.add("p.weight_packed", "I32", {16, 31}, std::vector<int32_t>(16 * 31));
              }),
              shapes("[16, 31]", "[16, 4]", "[2, 4]"));
  EXPECT_THAT(failure([](auto& t) { t.add("p.weight_packed", "I32", {512}, std::vector<int32_t>(512)); }),
              shapes("[512]", "[16, 4]", "[2, 4]"));
  EXPECT_THAT(failure([](auto& t) {
                t.add("p.weight_scale", "BF16", {16, 5}, std::vector<uint16_t>(16 * 5));
              }),
              shapes("[16, 32]", "[16, 5]", "[2, 4]"));
  EXPECT_THAT(failure([](auto& t) {
                t.add("p.weight_scale", "BF16", {15, 4}, std::vector<uint16_t>(15 * 4));
              }),
              shapes("[16, 32]", "[15, 4]", "[2, 4]"));
  EXPECT_THAT(failure([](auto& t) {
                t.add("p.weight_zero_point", "I32", {16, 4}, std::vector<int32_t>(64));
              }),
              shapes("[16, 32]", "[16, 4]", "[16, 4]"));
  EXPECT_THAT(failure([](auto& t) {
                t.add("p.weight_zero_point", "I8", {16, 3}, std::vector<int8_t>(48));
              }),
              shapes("[16, 32]", "[16, 4]", "[16, 3]"));
  EXPECT_THAT(failure([](auto& t) { t.remove("p.weight_scale"); }), HasSubstr("missing tensor 'p.weight_scale'"));
  EXPECT_THAT(failure([](auto& t) {
                t.add("p.weight_scale", "F64", {16, 4}, std::vector<double>(64));
              }),
              AllOf(HasSubstr("'p.weight_scale'"), HasSubstr("wrong dtype (got F64")));
  EXPECT_THAT(failure([](auto& t) {
                t.add("p.weight_zero_point", "U8", {16, 4}, std::vector<uint8_t>(64));
              }),
              AllOf(HasSubstr("'p.weight_zero_point'"), HasSubstr("wrong dtype (got U8")));
  EXPECT_THAT(failure([](auto& t) {
                t.add("p.weight_zero_point", "I8", {16, 4}, std::vector<int8_t>(64, 8));
              }),
              AllOf(HasSubstr("'p.weight_zero_point'"), HasSubstr("not a value of 4 bits (got 8)")));
  EXPECT_THAT(failure([](auto& t) {
                t.add("p.weight_shape", "I64", {2}, std::vector<int64_t>{16, 255});
              }),
              AllOf(HasSubstr("'p.weight_shape'"), HasSubstr("got [16, 255], expected [16, 256]")));
}

/// weight_g_idx of 128 columns in groups of 64, where columns 3 and 100 have changed places.
std::vector<int32_t> groups_with_a_swap() {
  std::vector<int32_t> groups(128);
  for (size_t k = 0; k < groups.size(); ++k) groups[k] = k / 64;
  std::swap(groups[3], groups[100]);
  return groups;
}

TEST(CompressedTensors, ColumnsThatStandByTheirGroups) {
  Written written = write({.n = 4, .k = 128, .group = 64});
  std::vector<int32_t> groups(128, -1);
  CheckpointView view;
  for (const bool is_known : {false, true}) {
    for (size_t k = 0; k < groups.size() && is_known; ++k) groups[k] = k / 64;
    written.tensors.add("p.weight_g_idx", "I32", {128}, groups);
    expect_read(written);
    EXPECT_TRUE(planned(written, view).input.order.empty());
  }
}

TEST(CompressedTensors, ColumnsInOrderOfActivation) {
  Written written = write({.n = 4, .k = 128, .group = 64, .zeros = Zeros::packed});
  CheckpointView in_order, view;
  const WeightPlan known = planned(written, in_order);
  written.tensors.add("p.weight_g_idx", "I32", {128}, groups_with_a_swap());
  const WeightPlan plan = planned(written, view);
  std::vector<int32_t> want = {0, 1, 2};
  for (int k = 4; k < 64; ++k) want.push_back(k);
  want.insert(want.end(), {100, 3});
  for (int k = 64; k < 128; ++k)
    if (k != 100) want.push_back(k);
  EXPECT_EQ(plan.input.order, want);

  RowBlock rows;
  known.read(0, 4, rows);
  const std::vector<float> values = testing::decoded_rows(plan, 0, 4);
  for (int64_t r = 0; r < 4; ++r) {
    for (size_t i = 0; i < 128; ++i) {
      const auto place = static_cast<size_t>(r * 128 + want[i]), group = static_cast<size_t>(r * 2) + i / 64;
      const float value = (static_cast<float>(rows.codes[place]) - rows.zero[group]) * rows.scale[group];
      EXPECT_EQ(values[static_cast<size_t>(r * 128) + i], value) << r << ", " << i;
    }
  }
  testing::expect_any_read_order(plan);
}

TEST(CompressedTensors, fault_051_groups_of_columns) {
  const auto failure = [](size_t column, int32_t group) {
    Written written = write({.n = 4, .k = 128, .group = 64});
    std::vector<int32_t> groups = groups_with_a_swap();
    groups[column] = group;
    written.tensors.add("p.weight_g_idx", "I32", {128}, groups);
    CheckpointView view;
    return testing::failure_of(ErrorKind::model, [&] { planned(written, view); });
  };
  EXPECT_THAT(failure(5, 2), HasSubstr("'p.weight_g_idx': column 5: no such group (got 2, there are 2)"));
  EXPECT_THAT(failure(7, -1), HasSubstr("'p.weight_g_idx': column 7: no such group (got -1"));
  EXPECT_THAT(failure(9, 1), HasSubstr("'p.weight_g_idx': group 0 has not 64 columns"));
  Written written = write({.n = 4, .k = 128, .group = 64});
  written.tensors.add("p.weight_g_idx", "I32", {64}, std::vector<int32_t>(64));
  CheckpointView view;
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { planned(written, view); }),
              HasSubstr("'p.weight_g_idx': wrong number of elements"));
}

TEST(CompressedTensors, AsymmetricWeightsHaveZeroPoints) {
  Written written = write({.n = 4, .k = 128, .group = 64, .zeros = Zeros::packed});
  written.tensors.remove("p.weight_zero_point");
  CheckpointView view;
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { planned(written, view); }),
              HasSubstr("missing tensor 'p.weight_zero_point'"));
}

}  // namespace
}  // namespace packhorse
