#include <gmock/gmock.h>

#include <atomic>
#include <random>
#include <thread>

#include "base/half.h"
#include "format_testing.h"
#include "formats/bitsandbytes.h"
#include "io/gguf_writer.h"

namespace packhorse {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::module_of;

QuantizationPlan in_flight(const Json& config = nullptr) {
  const testing::TempDir dir;
  testing::TensorWriter writer;
  writer.add("a.weight", "F32", {1, 1}, std::vector<float>(1));
  return plan_quantization(writer.open(dir), {"bitsandbytes", "auto", config});
}

/// Random weights in the elements of a dtype: raw bytes and their values.
struct Weights {
  int64_t n, k;
  std::string dtype;
  std::vector<uint8_t> raw;
  std::vector<float> values;
};

Weights random_weights(const std::string& dtype, int64_t n, int64_t k) {
  std::mt19937 random(static_cast<uint32_t>(n * 31 + k));
  std::normal_distribution<float> normal(0, 0.02f);
  Weights out{n, k, dtype, {}, {}};
  for (int64_t i = 0; i < n * k; ++i) {
    const float value = normal(random);
    const uint16_t half = dtype == "F16" ? f32_to_f16(value) : f32_to_bf16(value);
    const auto* bytes =
        dtype == "F32" ? reinterpret_cast<const uint8_t*>(&value) : reinterpret_cast<const uint8_t*>(&half);
    out.raw.insert(out.raw.end(), bytes, bytes + (dtype == "F32" ? 4 : 2));
    out.values.push_back(dtype == "F32" ? value : dtype == "F16" ? f16_to_f32(half) : bf16_to_f32(half));
  }
  return out;
}

CheckpointView written(const Weights& weights) {
  const testing::TempDir dir;
  testing::TensorWriter writer;
  writer.add("p.weight", weights.dtype, {weights.n, weights.k}, weights.raw);
  return writer.open(dir);
}

/// What the library gives for the whole flattened matrix.
std::vector<float> expected_rows(const Weights& weights, const CodeTable& table, uint32_t block, bool nested) {
  const auto n = static_cast<int64_t>(weights.values.size());
  std::vector<uint8_t> codes(weights.values.size());
  std::vector<float> scales((codes.size() + block - 1) / block), out(codes.size());
  encode_4bit(table, weights.values.data(), n, block, codes.data(), scales.data());
  if (nested) {
    const NestedAbsmax state = encode_nested(scales);
    decode_nested(state.codes, 0, dynamic_map(), state.absmax, kNestedBlock, state.offset, scales.data());
  }
  for (size_t i = 0; i < out.size(); ++i) out[i] = table.values[codes[i]] * scales[i / block];
  return out;
}

TEST(BitsandbytesInFlight, RowsOfEveryShapeAndDtype) {
  struct Shape {
    int64_t n, k;
  };
  for (const Shape shape : {Shape{16, 64}, {19, 72}, {24, 96}, {21, 33}, {5, 1000}, {130, 300}, {3, 20000}}) {
    for (const char* dtype : {"F32", "F16", "BF16"}) {
      const Weights weights = random_weights(dtype, shape.n, shape.k);
      const CheckpointView view = written(weights);
      for (const bool nested : {false, true}) {
        for (const uint32_t block : {32u, 64u, 4096u}) {
          const CodeTable& table = block == 32 ? kFp4 : kNf4;
          const QuantizationPlan quantization = in_flight({{"bnb_4bit_quant_type", table.name},
                                                           {"bnb_4bit_blocksize", block},
                                                           {"bnb_4bit_use_double_quant", nested}});
          const WeightPlan plan = plan_weight(view, module_of("p", shape.n, shape.k), quantization, true);
          ASSERT_EQ(plan.encoding, bitsandbytes_4bit(table, block));
          ASSERT_EQ(testing::decoded_rows(plan, 0, shape.n), expected_rows(weights, table, block, nested))
              << dtype << " " << shape.n << " " << shape.k << " " << block << nested;
          if (block == 64) testing::expect_any_read_order(plan);
        }
      }
    }
  }
}

/// The library's own results for whole matrices, through files, plans and rows.
TEST(BitsandbytesInFlight, GoldenMatrices) {
  const auto dir = testing::shared_dir() / "goldens";
  if (!std::filesystem::exists(dir)) GTEST_SKIP() << dir << " is absent";
  int n_cases = 0;
  for (const char* file : {"bitsandbytes.safetensors", "bitsandbytes_dtypes.safetensors"}) {
    const testing::TensorFile golden((dir / file).string());
    for (const auto& [weight_name, tensor] : golden.tensors()) {
      if (!weight_name.ends_with(".weight")) continue;
      const auto n = static_cast<int64_t>(tensor.shape[0]), k = static_cast<int64_t>(tensor.shape[1]);
      const CheckpointView view =
          written({n, k, std::string(info(tensor.dtype).name), golden.get<uint8_t>(weight_name), {}});
      const std::string prefix = weight_name.substr(0, weight_name.size() - 6);
      for (const char* type : {"nf4", "fp4"}) {
        const WeightPlan plan =
            plan_weight(view, module_of("p", n, k), in_flight({{"bnb_4bit_quant_type", type}}), true);
        RowBlock rows;
        plan.read(0, n, rows);
        const auto packed = golden.get<uint8_t>(prefix + type + ".packed");
        size_t n_wrong = 0;
        for (size_t i = 0; i < rows.codes.size(); ++i)
          n_wrong += rows.codes[i] != (i % 2 ? packed[i / 2] & 15 : packed[i / 2] >> 4);
        EXPECT_EQ(n_wrong, 0u) << prefix << type;
        const std::string nested = prefix + type + "_double";
        const float offset = golden.get<float>(nested + ".offset")[0];
        std::vector<float> scales(rows.scale.size());
        decode_nested(golden.get<uint8_t>(nested + ".absmax"), 0, dynamic_map(),
                      golden.get<float>(nested + ".nested_absmax"), 256, offset, scales.data());
        EXPECT_EQ(rows.scale, scales) << nested;
        ++n_cases;
      }
      const WeightPlan plan = plan_weight(view, module_of("p", n, k), in_flight({{"load_in_8bit", true}}), true);
      RowBlock rows;
      plan.read(0, n, rows);
      EXPECT_EQ(rows.scale, golden.get<float>(prefix + "int8.SCB"));
      const auto codes = golden.get<int8_t>(prefix + "int8.CB");
      EXPECT_TRUE(std::equal(codes.begin(), codes.end(), rows.codes.begin(),
                             [](int8_t q, uint8_t code) { return q == code - 128; }));
    }
  }
  EXPECT_EQ(n_cases, 12);
}

TEST(BitsandbytesInFlight, Int8) {
  const Weights weights = random_weights("BF16", 10, 75);
  const CheckpointView view = written(weights);
  const WeightPlan plan =
      plan_weight(view, module_of("p", 10, 75), in_flight({{"load_in_8bit", true}, {"llm_int8_threshold", 3}}), true);
  EXPECT_EQ(plan.encoding, bitsandbytes_int8(3));
  EXPECT_EQ(plan.source_bytes, 10u * 75 * 2);
  const std::vector<float> rows = testing::decoded_rows(plan, 0, 10);
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_NEAR(rows[i], weights.values[i], 0.0006);
  testing::expect_any_read_order(plan);
}

TEST(BitsandbytesInFlight, SourceBytesAreThoseOfTheFile) {
  const CheckpointView view = written(random_weights("F32", 64, 1024));
  EXPECT_EQ(plan_weight(view, module_of("p", 64, 1024), in_flight(nullptr), true).source_bytes, 64u * 1024 * 4);
}

TEST(BitsandbytesInFlight, FloatGgufInTheModelsRowOrder) {
  const testing::TempDir dir;
  testing::GgufFile file;
  file.keys = {testing::string_key("general.architecture", "llama")};
  file.tensors = {{"blk.0.attn_q.weight", {72, 64}, 0, 64 * 72 * 4}};
  const Weights weights = random_weights("F32", 64, 72);
  std::string bytes = file.write();
  const auto in_file = [](int64_t r) { return r % 32 * 2 + r / 32; };
  for (int64_t r = 0; r < 64; ++r) {
    std::memcpy(bytes.data() + file.at["data"] + static_cast<size_t>(in_file(r) * 72 * 4),
                weights.raw.data() + r * 72 * 4, 72 * 4);
  }
  testing::write_text(dir.file("m.gguf"), bytes);
  const CheckpointView view = open_checkpoint(dir.file("m.gguf"));
  Module module = module_of("model.layers.0.self_attn.q_proj", 64, 72);
  module.source = "blk.0.attn_q";
  module.source_row = in_file;
  const WeightPlan plan = plan_weight(view, module, in_flight(), true);
  EXPECT_EQ(testing::decoded_rows(plan, 0, 64), expected_rows(weights, kNf4, 64, true));
}

TEST(BitsandbytesInFlight, SkippedModulesStayFloat) {
  const Weights weights = random_weights("BF16", 4, 64);
  const testing::TempDir dir;
  testing::TensorWriter writer;
  const std::string name = "model.layers.1.mlp.down_proj";
  writer.add(name + ".weight", "BF16", {4, 64}, weights.raw);
  const CheckpointView view = writer.open(dir);
  const auto element = [&](const char* entry, bool quantize = true) {
    return plan_weight(view, module_of(name, 4, 64), in_flight({{"llm_int8_skip_modules", {"lm_head", entry}}}),
                       quantize)
        .encoding.element;
  };
  for (const char* skips : {"down_proj", "mlp", "1", "model", "model.layers.1", "model.layers.1.mlp.down_proj"}) {
    EXPECT_EQ(element(skips), Element::bf16) << skips;
  }
  for (const char* not_this :
       {"down", "layers.1", "model.layers.11", "mlp.down_proj", "model.layers.1.mlp.down_proj.x", ""}) {
    EXPECT_EQ(element(not_this), Element::table) << not_this;
  }
  EXPECT_EQ(element("other", false), Element::bf16);
}

TEST(BitsandbytesInFlight, BadSettings) {
  const auto failure = [](const Json& config) {
    return testing::failure_of(ErrorKind::usage, [&] { in_flight(config); });
  };
  EXPECT_NO_THROW(in_flight({{"quant_method", "bitsandbytes"},
                             {"_load_in_4bit", true},
                             {"load_in_4bit", true},
                             {"bnb_4bit_compute_dtype", "bfloat16"},
                             {"bnb_4bit_quant_storage", "uint8"},
                             {"llm_int8_skip_modules", nullptr},
                             {"llm_int8_has_fp16_weight", false}}));
  EXPECT_THAT(failure({{"bits", 4}}), HasSubstr("bitsandbytes has no setting 'bits'"));
  EXPECT_THAT(failure({{"load_in_8bit", 1}}), HasSubstr("load_in_8bit: expected true or false (got 1)"));
  EXPECT_THAT(failure({{"load_in_4bit", false}}), HasSubstr("load_in_8bit"));
  EXPECT_THAT(failure({{"bnb_4bit_quant_type", "int4"}}), HasSubstr("expected nf4 or fp4 (got \"int4\")"));
  EXPECT_THAT(failure({{"bnb_4bit_blocksize", 100}}), HasSubstr("power of two in 32..4096 (got 100)"));
  EXPECT_THAT(failure({{"llm_int8_threshold", -1}}), HasSubstr("llm_int8_threshold"));
  EXPECT_THAT(failure({{"llm_int8_skip_modules", "lm_head"}}), HasSubstr("an array of module names"));
  EXPECT_THAT(failure({{"llm_int8_skip_modules", {1}}}), HasSubstr("an array of module names"));
}

TEST(BitsandbytesInFlight, ThreadsShareTheStatistics) {
  const Weights weights = random_weights("BF16", 1500, 640);
  const CheckpointView view = written(weights);
  const std::vector<float> want = expected_rows(weights, kNf4, 64, true);
  for (int round = 0; round < 5; ++round) {
    const WeightPlan plan = plan_weight(view, module_of("p", 1500, 640), in_flight(), true);
    std::atomic<int64_t> next{0}, n_wrong{0};
    const auto work = [&] {
      for (int64_t row; (row = next.fetch_add(50)) < 1500;) {
        const std::vector<float> rows = testing::decoded_rows(plan, row, 50);
        n_wrong += !std::equal(rows.begin(), rows.end(), want.begin() + row * 640);
      }
    };
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) threads.emplace_back(work);
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(n_wrong, 0);
  }
}

TEST(BitsandbytesInFlight, EveryThreadHearsOfAFailure) {
  std::atomic<int> n_reads{0};
  WeightPlan source{.name = "w",
                    .encoding = {.element = Element::bf16, .bits = 16},
                    .n = 2000,
                    .k = 640,
                    .source_bytes = 0,
                    .read = [&](int64_t begin, int64_t count, RowBlock& rows) {
                      ++n_reads;
                      if (begin <= 1000 && begin + count > 1000) fail(ErrorKind::io, "w: cut");
                      rows.resize({.element = Element::bf16, .bits = 16}, begin, count, 640);
                      std::fill(rows.codes.begin(), rows.codes.end(), uint8_t{60});
                    }};
  const WeightPlan plan = bitsandbytes_in_flight(source, module_of("w", 2000, 640), Json::object());
  std::atomic<int> n_failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      RowBlock rows;
      try {
        plan.read(t * 10, 10, rows);
      } catch (const Error& error) {
        n_failures += error.kind() == ErrorKind::io;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(n_failures, 4);
}

}  // namespace
}  // namespace packhorse
