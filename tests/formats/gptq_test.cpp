#include "formats/packing.h"
#include "words_testing.h"

namespace packhorse {
namespace {

using testing::Affine;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::module_of;
using testing::random_affine;

enum class Form { v1, v2, planes };

/// Words of a run of codes whose number is a multiple of 32.
std::vector<uint32_t> words_of(const std::vector<int>& codes, int bits, bool planes) {
  std::vector<uint32_t> words(codes.size() * static_cast<size_t>(bits) / 32);
  for (size_t i = 0; i < codes.size(); ++i) {
    if (!planes) {
      testing::put_bits(words, static_cast<int64_t>(i) * bits, bits, codes[i]);
      continue;
    }
    int64_t block = static_cast<int64_t>(i / 32) * 32 * bits;
    int rest = codes[i];
    for (const int width : {8, 4, 2, 1}) {
      if (!(bits & width)) continue;
      testing::put_bits(words, block + static_cast<int64_t>(i % 32) * width, width, rest & ((1 << width) - 1));
      rest >>= width;
      block += 32 * width;
    }
  }
  return words;
}

/// Takes 1 from each code, as GPTQModel does: one subtraction for all codes of a word (of three words for 3 bits).
void subtract_ones(std::vector<uint32_t>& words, int bits) {
  const int64_t period = bits == 3 ? 96 : 32;
  int borrow = 0;
  for (int64_t place = 0; place < static_cast<int64_t>(words.size()) * 32; ++place) {
    if (place % period == 0) borrow = 0;
    uint32_t& word = words[static_cast<size_t>(place / 32)];
    const uint32_t bit = 1u << (place % 32);
    const int difference = (word & bit ? 1 : 0) - (place % period % bits == 0) - borrow;
    word = difference % 2 ? word | bit : word & ~bit;
    borrow = difference < 0;
  }
}

struct Written {
  Affine matrix;
  testing::TensorWriter tensors = {};
  Json settings = {};
};

Written write(const Affine& matrix, Form form = Form::v1, const std::string& name = "p") {
  Written out{matrix};
  const auto& [bits, n, k] = std::tie(matrix.bits, matrix.n, matrix.k);
  const bool planes = form == Form::planes;
  std::vector<std::vector<uint32_t>> columns;
  for (int64_t r = 0; r < n; ++r) {
    columns.push_back(words_of({matrix.codes.begin() + r * k, matrix.codes.begin() + (r + 1) * k}, bits, planes));
  }
  std::vector<uint32_t> qweight, qzeros;
  for (size_t w = 0; w < columns[0].size(); ++w) {
    for (const auto& column : columns) qweight.push_back(column[w]);
  }
  for (int64_t g = 0; g < matrix.n_groups(); ++g) {
    std::vector<int> zeros;
    for (int64_t r = 0; r < n; ++r) zeros.push_back(matrix.zero(r, g));
    std::vector<uint32_t> words = words_of(zeros, bits, planes);
    if (form == Form::v1) subtract_ones(words, bits);
    qzeros.insert(qzeros.end(), words.begin(), words.end());
  }
  out.tensors.add(name + ".qweight", "I32", {k * bits / 32, n}, qweight);
  out.tensors.add(name + ".qzeros", "I32", {matrix.n_groups(), n * bits / 32}, qzeros);
  out.tensors.add(name + ".scales", "F16", {matrix.n_groups(), n}, matrix.halves());
  if (!matrix.groups.empty()) out.tensors.add(name + ".g_idx", "I32", {k}, matrix.groups);
  out.settings = {{"quant_method", "gptq"},
                  {"bits", bits},
                  {"group_size", matrix.group ? matrix.group : -1},
                  {"desc_act", !matrix.groups.empty()},
                  {"sym", false},
                  {"checkpoint_format", form == Form::v1   ? "gptq"
                                        : form == Form::v2 ? "gptq_v2"
                                                           : "gptq_p"}};
  return out;
}

WeightPlan planned(const Written& written, CheckpointView& view, const std::string& name = "p") {
  const testing::TempDir dir;
  view = written.tensors.open(dir, written.settings);
  return plan_weight(view, module_of(name, written.matrix.n, written.matrix.k), {}, true);
}

Encoding expect_read(const Written& written) {
  CheckpointView view;
  const WeightPlan plan = planned(written, view);
  testing::expect_values(plan, written.matrix.values());
  return plan.encoding;
}

TEST(Gptq, EveryWidthAndMeaningOfZeroPoints) {
  for (const int bits : {2, 3, 4, 8}) {
    const Affine matrix = random_affine({.bits = bits, .n = 96, .k = 192, .group = 64});
    ASSERT_NE(std::ranges::count(matrix.zeros, 0), 0) << "no borrow to test";
    for (const Form form : {Form::v1, Form::v2, Form::planes}) expect_read(write(matrix, form));
  }
  for (const int bits : {5, 6, 7}) {
    Written written = write(random_affine({.bits = bits, .n = 64, .k = 96, .group = 32}), Form::planes);
    expect_read(written);
    written.settings["checkpoint_format"] = "gptq";  // there is no other layout of these widths
    expect_read(written);
  }
}

// Words that the tools wrote: GPTQModel took 1 from zero points 0 5 5 5 5 5 5 5, and from 8 or 4 in all codes.
TEST(Gptq, BorrowRunsThroughTheWord) {
  const auto incremented = [](std::vector<uint32_t> words, int bits) {
    increment_stream(reinterpret_cast<uint8_t*>(words.data()), bits, static_cast<int64_t>(words.size()));
    return words;
  };
  EXPECT_EQ(incremented({0x4444443f, 0x77777777}, 4), (std::vector<uint32_t>{0x55555550, 0x88888888}));
  EXPECT_EQ(incremented({0x55555555}, 2), (std::vector<uint32_t>{0xaaaaaaaa}));
  EXPECT_EQ(incremented({0x7f7f7f7f}, 8), (std::vector<uint32_t>{0x80808080}));
  EXPECT_EQ(incremented({0xdb6db6db, 0xb6db6db6, 0x6db6db6d}, 3),
            (std::vector<uint32_t>{0x24924924, 0x49249249, 0x92492492}));
}

// Written by the library: codes 3 0 5 2 7 4 1 6 over and over.
TEST(Gptq, WordsOfTheLibrary) {
  const uint32_t words[] = {0x43c67543, 0x7543c675, 0xc67543c6};
  uint8_t codes[32];
  unpack_stream(reinterpret_cast<const uint8_t*>(words), 3, 32, codes);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(codes[i], "\3\0\5\2\7\4\1\6"[i % 8]) << i;
}

TEST(Gptq, GroupsOfAnySize) {
  for (const int64_t group : {int64_t{0}, int64_t{16}, int64_t{128}, int64_t{96}, int64_t{1024}}) {
    Affine matrix{.n = 32, .k = 288, .group = group};
    const Encoding encoding = expect_read(write(random_affine(matrix)));
    EXPECT_EQ(encoding.grouping.kind, group && group < 288 ? GroupKind::along_k : GroupKind::row) << group;
    for (int64_t c = 0; c < matrix.k; ++c) matrix.groups.push_back(static_cast<int>(group ? c / group : 0));
    expect_read(write(random_affine(matrix)));
    CheckpointView view;
    EXPECT_TRUE(planned(write(random_affine(matrix)), view).input.order.empty()) << group;
  }
}

/// A matrix whose columns have these group sizes, mixed up.
Affine mixed_up(Affine matrix, const std::vector<int>& sizes) {
  for (size_t g = 0; g < sizes.size(); ++g)
    matrix.groups.insert(matrix.groups.end(), static_cast<size_t>(sizes[g]), static_cast<int>(g));
  std::mt19937 random(7);
  std::ranges::shuffle(matrix.groups, random);
  return random_affine(matrix);
}

TEST(Gptq, ColumnsInOrderOfActivation) {
  const Written written = write(mixed_up({.bits = 4, .n = 32, .k = 160, .group = 64}, {64, 64, 32}));
  EXPECT_EQ(expect_read(written).grouping, (Grouping{GroupKind::along_k, 64}));
  CheckpointView view;
  const std::vector<int32_t> order = planned(written, view).input.order;
  ASSERT_EQ(order.size(), 160u);
  for (size_t i = 1; i < order.size(); ++i) {
    const int a = written.matrix.groups[static_cast<size_t>(order[i - 1])];
    const int b = written.matrix.groups[static_cast<size_t>(order[i])];
    EXPECT_TRUE(a < b || (a == b && order[i - 1] < order[i])) << i;
  }
  // One group: any order is the file's.
  const Written whole = write(mixed_up({.bits = 8, .n = 32, .k = 64}, {64}));
  EXPECT_TRUE(planned(whole, view).input.order.empty());
  expect_read(whole);
}

TEST(Gptq, GroupsOfUnevenSizes) {
  EXPECT_EQ(expect_read(write(mixed_up({.n = 32, .k = 192, .group = 64}, {48, 96, 48}))).grouping,
            (Grouping{GroupKind::along_k, 48}));
  EXPECT_EQ(expect_read(write(mixed_up({.n = 32, .k = 128, .group = 64}, {1, 127}))).grouping,
            (Grouping{GroupKind::along_k, 1}));
  EXPECT_EQ(expect_read(write(mixed_up({.n = 32, .k = 192, .group = 64}, {0, 128, 64}))).grouping,
            (Grouping{GroupKind::along_k, 128}));
}

TEST(Gptq, ZeroPointsAreThoseOfTheWords) {
  const Affine matrix = random_affine({.n = 64, .k = 128, .group = 32}, true);
  EXPECT_EQ(expect_read(write(matrix)), (Encoding{.element = Element::integer,
                                                  .bits = 4,
                                                  .offset = 8,
                                                  .grouping = {GroupKind::along_k, 32},
                                                  .scale = ScaleType::f16}));
  Affine odd = matrix;
  odd.zeros[77] = 9;
  Written written = write(odd);
  written.settings["sym"] = true;  // it is not
  const Encoding encoding = expect_read(written);
  EXPECT_EQ(encoding.zero, ScaleType::u8);
  EXPECT_EQ(encoding.offset, 0);
}

// Marlin's kernels never looked at the zero points of symmetric weights, so files with either storage are about.
TEST(Gptq, SymmetricZeroPointsInTheOtherManner) {
  for (const int bits : {2, 3, 4, 8}) {
    const Affine matrix = random_affine({.bits = bits, .n = 32, .k = 128, .group = 32}, true);
    Written plain = write(matrix, Form::v2), less_one = write(matrix, Form::v1);
    plain.settings.erase("checkpoint_format"), less_one.settings["checkpoint_format"] = "gptq_v2";
    for (Written* written : {&plain, &less_one}) {
      written->settings["sym"] = true;
      EXPECT_EQ(expect_read(*written).zero, ScaleType::none);
      written->settings.erase("sym");
      expect_read(*written);
      written->settings["sym"] = false;  // then they are what the format says
      CheckpointView view;
      EXPECT_NE(testing::decoded_rows(planned(*written, view), 0, 32), matrix.values());
    }
  }
}

TEST(Gptq, GroupsOfColumnsThatSayNothing) {
  const Affine matrix = random_affine({.n = 32, .k = 128, .group = 32});
  Written written = write(matrix);
  for (const int64_t n : {int64_t{128}, int64_t{0}}) {
    written.tensors.add("p.g_idx", "I32", {n}, std::vector<int32_t>(static_cast<size_t>(n)));
    written.settings["desc_act"] = false;
    expect_read(written);
    written.settings["desc_act"] = true;
    CheckpointView view;
    EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { planned(written, view); }),
                HasSubstr("no groups in tensor 'p.g_idx' (desc_act: columns are not in order"));
  }
}

TEST(Gptq, UnevenGroupsWithoutASize) {
  Written written = write(mixed_up({.n = 32, .k = 160, .group = 64}, {64, 64, 32}));
  written.settings.erase("group_size");
  expect_read(written);
  written.tensors.remove("p.g_idx");
  written.settings["desc_act"] = false;
  CheckpointView view;
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { planned(written, view); }),
              HasSubstr("shapes do not fit a matrix [32, 160] of 4 bits (got"));
}

TEST(Gptq, ScalesOfOtherTypes) {
  Written written = write(random_affine({.n = 32, .k = 64, .group = 32}));
  std::vector<float> floats;
  std::vector<uint16_t> bf16;
  for (int64_t g = 0; g < 2; ++g) {
    for (int64_t r = 0; r < 32; ++r) {
      float& scale = written.matrix.scales[static_cast<size_t>(r * 2 + g)];
      scale = bf16_to_f32(f32_to_bf16(scale));
      floats.push_back(scale), bf16.push_back(f32_to_bf16(scale));
    }
  }
  written.tensors.add("p.scales", "BF16", {2, 32}, bf16);
  EXPECT_EQ(expect_read(written).scale, ScaleType::bf16);
  written.tensors.add("p.scales", "F32", {2, 32}, floats);
  EXPECT_EQ(expect_read(written).scale, ScaleType::f32);
}

TEST(Gptq, RowsOfAnotherOrder) {
  const Written written = write(mixed_up({.n = 32, .k = 96, .group = 32}, {32, 32, 32}));
  const testing::TempDir dir;
  const CheckpointView view = written.tensors.open(dir, written.settings);
  Module module = module_of("p", 32, 96);
  module.source_row = [](int64_t r) { return r % 2 ? r : 30 - r; };
  const WeightPlan plan = plan_weight(view, module, {}, true);
  const std::vector<float> rows = testing::in_file_order(plan, testing::decoded_rows(plan, 0, 32));
  const std::vector<float> values = written.matrix.values();
  for (int64_t r = 0; r < 32; ++r) {
    EXPECT_TRUE(
        std::equal(rows.begin() + r * 96, rows.begin() + (r + 1) * 96, values.begin() + module.source_row(r) * 96))
        << r;
  }
}

TEST(Gptq, RulesForSomeModules) {
  Written written = write(random_affine({.bits = 8, .n = 32, .k = 128, .group = 32}), Form::v1, "model.a.down_proj");
  written.settings.update({{"bits", 4}, {"group_size", 64}});
  const auto read = [&](const std::string& rules) {
    const testing::TempDir dir;
    const CheckpointView view = testing::open_with(written.tensors, dir, written.settings, "dynamic", rules);
    const WeightPlan plan = plan_weight(view, module_of("model.a.down_proj", 32, 128), {}, true);
    testing::expect_values(plan, written.matrix.values());
  };
  read(R"({"+:.*\\.down_proj": {"bits": 8, "group_size": 32}})");
  read(R"({"model": {"bits": 8, "group_size": 32}})");              // need not match to the end
  read(R"({"model.a.down_proj": {"bits": 8, "group_size": 32}})");  // a name is an expression, too
  read(R"({"down_proj": {"bits": 2}, ".*": {"bits": 8, "group_size": 32}, ".*down.*": {"bits": 3}})");
  read(R"({"model.*": {"bits": 8, "group_size": 32}, "+:.*": {"bits": 2}})");  // in the order of the file
  read(R"({"-:.*down.*": {}})");                                               // says that it is plain, which it is not
  const auto failure = [&](const std::string& rules) {
    return testing::failure_of(ErrorKind::model, [&] { read(rules); });
  };
  EXPECT_THAT(failure("{}"), HasSubstr("a matrix [32, 128] of 4 bits with group_size 64 (got qweight [32, 32], qzeros "
                                       "[4, 8], scales [4, 32]; settings: "));
  EXPECT_THAT(failure(R"({"+:.*down": {"bits": 8}})"), HasSubstr("group_size 64 (got qweight [32, 32], qzeros [4, 8], "
                                                                 "scales [4, 32]; settings: "));
  EXPECT_THAT(failure(R"({".*": 8})"), HasSubstr("quantization_config.dynamic..*: expected an object (got 8)"));
  EXPECT_THAT(failure(R"({"(": {}})"), HasSubstr("quantization_config.dynamic.("));
  EXPECT_THAT(failure("[]"), HasSubstr("quantization_config.dynamic: expected an object (got an array of 0)"));
}

TEST(Gptq, SettingsInASideFileAlone) {
  Written written = write(mixed_up({.n = 32, .k = 96, .group = 32}, {32, 32, 32}), Form::v2);
  written.settings.erase("quant_method");
  for (const bool nested : {false, true}) {
    const testing::TempDir dir;
    written.tensors.write(dir, {{"architectures", {"LlamaForCausalLM"}}});
    const Json file = nested ? Json{{"quantization_config", written.settings}} : written.settings;
    testing::write_text(dir.file("quantize_config.json"), file.dump());
    const CheckpointView view = open_checkpoint(dir.path().string());
    EXPECT_EQ(plan_quantization(view, {}).description, "gptq (checkpoint)") << nested;
    testing::expect_values(plan_weight(view, module_of("p", 32, 96), {}, true), written.matrix.values());
  }
}

TEST(Gptq, NamesThatUsersMayGive) {
  const Written written = write(random_affine({.n = 32, .k = 64}));
  CheckpointView view;
  planned(written, view);
  for (const char* name : {"gptq", "GPTQ", "gptq_marlin", "auto_gptq", "marlin", "gptq_marlin_24", "bitblas",
                           "gptq_bitblas", "moe_wna16", "inc"}) {
    EXPECT_EQ(plan_quantization(view, testing::named(name)).description, "gptq (checkpoint)") << name;
  }
  EXPECT_THAT(testing::failure_of(ErrorKind::usage, [&] { plan_quantization(view, testing::named("awq")); }),
              HasSubstr("quantization 'awq' does not match the checkpoint, which is quantized with 'gptq'"));
}

/// What loading says after a change.
std::string failure(Written written, auto&& change) {
  change(written);
  return testing::failure_of(ErrorKind::model, [&] {
    CheckpointView view;
    testing::decoded_rows(planned(written, view), 0, written.matrix.n);
  });
}

TEST(Gptq, fault_050_settings) {
  const Written good = write(random_affine({.n = 32, .k = 256, .group = 64}));
  expect_read(good);
  const auto with = [&](const char* key, const Json& value) {
    return failure(good, [&](Written& w) { w.settings[key] = value; });
  };
  for (const Json& bits : {Json(0), Json(3.5), Json(17), Json("4"), Json(9)}) {
    EXPECT_THAT(with("bits", bits),
                HasSubstr("quantization_config.bits: not a whole number in 2..8 (got " + bits.dump()));
  }
  for (const Json& size : {Json(0), Json(-2), Json(1.5), Json("128")})
    EXPECT_THAT(with("group_size", size),
                AllOf(HasSubstr("quantization_config.group_size"), HasSubstr("got " + size.dump())));
  EXPECT_THAT(with("group_size", 128),
              HasSubstr("group_size 128 (got qweight [32, 32], qzeros [4, 4], scales [4, 32]"));
  EXPECT_THAT(with("group_size", -1), HasSubstr("group_size -1 (got qweight"));
  EXPECT_THAT(with("bits", 8), HasSubstr("of 8 bits"));
  EXPECT_THAT(with("checkpoint_format", "gptq_v3"), HasSubstr("checkpoint_format: not supported (got \"gptq_v3\""));
  EXPECT_THAT(with("pack_dtype", "int64"), HasSubstr("pack_dtype: only int32 is supported (got \"int64\")"));
  EXPECT_THAT(with("desc_act", 1), HasSubstr("desc_act: expected true or false (got 1)"));
}

TEST(Gptq, fault_051_groups_of_columns) {
  const Written good = write(mixed_up({.n = 32, .k = 128, .group = 64}, {64, 64}));
  expect_read(good);
  for (const int bad : {-1, 2, INT32_MAX, INT32_MIN}) {
    EXPECT_THAT(
        failure(good,
                [&](Written& w) {
                  w.matrix.groups[5] = bad;
                  w.tensors.add("p.g_idx", "I32", {128}, w.matrix.groups);
                }),
        AllOf(HasSubstr("tensor 'p.g_idx': entry 5: not a group in 0..1 (got "), HasSubstr(std::to_string(bad))));
  }
  EXPECT_THAT(failure(good, [](Written& w) { w.tensors.add("p.g_idx", "I32", {127}, std::vector<int32_t>(127)); }),
              HasSubstr("'p.g_idx': wrong number of elements (got 127"));
  EXPECT_THAT(failure(good, [](Written& w) { w.tensors.remove("p.g_idx"); }),
              HasSubstr("missing tensor 'p.g_idx' (desc_act"));
  EXPECT_THAT(failure(good,
                      [](Written& w) {
                        w.tensors.add("p.qzeros", "I32", {2, 3}, std::vector<int32_t>(6));
                      }),
              HasSubstr("got qweight [16, 32], qzeros [2, 3], scales [2, 32]"));
}

TEST(Gptq, fault_052_tensors_that_do_not_fit) {
  const Written good = write(random_affine({.n = 32, .k = 256, .group = 64}));
  expect_read(good);
  const auto replaced = [&](const char* name, const char* type, std::vector<int64_t> shape) {
    return failure(good, [&](Written& w) {
      int64_t n = std::string(type) == "I32" ? 4 : 2;
      for (const int64_t dim : shape) n *= dim;
      w.tensors.add(name, type, shape, std::vector<char>(static_cast<size_t>(n)));
    });
  };
  EXPECT_THAT(replaced("p.qweight", "I32", {31, 32}),
              HasSubstr("tensor 'p.qweight': shapes do not fit a matrix [32, 256]"));
  EXPECT_THAT(replaced("p.qweight", "I32", {1024}), HasSubstr("(got qweight [1024], qzeros [4, 4], scales [4, 32]"));
  EXPECT_THAT(replaced("p.qweight", "F16", {32, 32}), HasSubstr("'p.qweight': wrong dtype (got F16, expected I32)"));
  EXPECT_THAT(replaced("p.qzeros", "F16", {4, 4}), HasSubstr("'p.qzeros': wrong dtype (got F16, expected I32)"));
  EXPECT_THAT(replaced("p.scales", "I32", {4, 32}), HasSubstr("'p.scales': wrong dtype (got I32"));
  EXPECT_THAT(replaced("p.scales", "F16", {5, 32}), HasSubstr("scales [5, 32]"));
  EXPECT_THAT(replaced("p.scales", "F16", {4, 31}), HasSubstr("scales [4, 31]"));
  EXPECT_THAT(failure(good, [](Written& w) { w.tensors.remove("p.scales"); }), HasSubstr("missing tensor 'p.scales'"));
  EXPECT_THAT(failure(good, [](Written& w) { w.tensors.remove("p.qzeros"); }), HasSubstr("missing tensor 'p.qzeros'"));
  EXPECT_THAT(failure(good,
                      [](Written& w) {
                        std::vector<uint16_t> scales = w.matrix.halves();
                        scales[33] = 0x7e00;
                        w.tensors.add("p.scales", "F16", {4, 32}, scales);
                      }),
              HasSubstr("'p.scales': scale of row 1, group 1: not a finite number (got nan)"));
}

}  // namespace
}  // namespace packhorse
