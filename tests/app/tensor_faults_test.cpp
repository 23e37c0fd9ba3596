// Rows 20, 21, 26 and 29 of the fault catalogue: tensors that are no good for the model, and weights that are no
// numbers.
#include <gmock/gmock.h>

#include <cmath>

#include "app/tiny_llama.h"
#include "base/half.h"

namespace packhorse {
namespace {

using testing::GgufFile;
using testing::GgufTensor;
using ::testing::HasSubstr;
using testing::TinyFolder;
using testing::TinySizes;
using testing::TinyTensor;
using TensorFaults = testing::TinyLlamaTest;

std::string text_of(const std::vector<int64_t>& shape) {
  return shape.size() == 1 ? fmt::format("[{}]", shape[0]) : fmt::format("[{}, {}]", shape[0], shape[1]);
}

TEST_F(TensorFaults, fault_026_missing_tensors) {
  for (const TinyTensor& tensor : testing::tiny_tensors({})) {
    const std::string expected = "(expected " + text_of(tensor.shape).substr(0, text_of(tensor.shape).size() - 1);
    TinyFolder folder = folder_;
    folder.tensors.remove(tensor.hf + ".weight");
    expect_failure(folder, fmt::format("missing tensor '{}.weight' {}", tensor.hf, expected));
    GgufFile file = gguf_;
    std::erase_if(file.tensors, [&](const GgufTensor& other) { return other.name == tensor.gguf + ".weight"; });
    if (tensor.gguf == "output")
      EXPECT_EQ(loaded(file).vocab_size(), 40);  // the head is the embedding's table
    else if (tensor.gguf == "token_embd")
      expect_failure(file, "missing tensor 'token_embd.weight'");  // which tells the vocabulary
    else
      expect_failure(file, fmt::format("missing tensor '{}.weight' {}", tensor.gguf, expected));
  }
}

TEST_F(TensorFaults, fault_026_other_shapes) {
  for (const TinyTensor& tensor : testing::tiny_tensors({})) {
    std::vector<int64_t> transposed = {tensor.shape.rbegin(), tensor.shape.rend()}, longer = tensor.shape;
    longer.back() += 16;
    for (const std::vector<int64_t>& shape : {transposed, longer}) {
      if (shape == tensor.shape) continue;
      const std::string what =
          fmt::format("shape does not fit the model (got {}, expected {})", text_of(shape), text_of(tensor.shape));
      const std::vector<float> values = testing::tiny_values({tensor.hf, tensor.gguf, shape});
      TinyFolder folder = folder_;
      folder.tensors.add(tensor.hf + ".weight", "F32", shape, values);
      expect_failure(folder, fmt::format("model.safetensors: tensor '{}.weight': {}", tensor.hf, what));
      if (tensor.gguf == "token_embd") continue;  // its rows are the vocabulary
      GgufFile file = gguf_;
      testing::tensor_of(file, tensor.gguf + ".weight") = testing::gguf_tensor(tensor.gguf + ".weight", shape, values);
      expect_failure(file, fmt::format("m.gguf: tensor '{}.weight': {}", tensor.gguf, what));
    }
  }
}

TEST_F(TensorFaults, fault_026_head_of_another_vocabulary) {
  for (const int64_t rows : {39, 41}) {
    const TinyTensor head{"lm_head", "output", {rows, 48}};
    TinyFolder folder = folder_;
    folder.tensors.add("lm_head.weight", "F32", head.shape, testing::tiny_values(head));
    expect_failure(
        folder, fmt::format("'lm_head.weight': shape does not fit the model (got [{}, 48], expected [40, 48])", rows));
    GgufFile file = gguf_;
    testing::tensor_of(file, "output.weight") =
        testing::gguf_tensor("output.weight", head.shape, testing::tiny_values(head));
    expect_failure(
        file, fmt::format("'output.weight': shape does not fit the model (got [{}, 48], expected [40, 48])", rows));
  }
}

TEST_F(TensorFaults, fault_026_biases) {
  TinyFolder folder = folder_;
  folder.tensors.add("model.layers.1.self_attn.q_proj.bias", "F32", {32}, std::vector<float>(32, 0.5f));
  EXPECT_EQ(loaded(folder).warnings(), std::vector<std::string>{});
  folder.tensors.add("model.layers.1.self_attn.q_proj.bias", "F32", {31}, std::vector<float>(31));
  expect_failure(folder,
                 "'model.layers.1.self_attn.q_proj.bias': shape does not fit the model (got [31], expected [32])");
  folder.tensors.add("model.layers.1.self_attn.q_proj.bias", "I32", {32}, std::vector<int32_t>(32));
  expect_failure(folder, "'model.layers.1.self_attn.q_proj.bias': dtype I32 where F32, F16 or BF16 is needed");
}

TEST_F(TensorFaults, fault_026_extra_tensors_are_one_warning) {
  const std::string unused = "the model has no use of it";
  TinyFolder folder = folder_;
  folder.tensors.add("vision\n.weight", "F32", {1}, std::vector<float>(1));
  EXPECT_EQ(loaded(folder).warnings(), std::vector{"model.safetensors: tensor 'vision\\x0a.weight': " + unused});
  for (const char* name : {"model.layers.0.extra", "model.layers.0.self_attn.q_proj2.weight", "x"})
    folder.tensors.add(name, "F32", {1}, std::vector<float>(1));
  EXPECT_EQ(loaded(folder).warnings(), std::vector{"model.safetensors: tensor 'model.layers.0.extra': " + unused +
                                                   " (and of 3 more, which --verbose lists)"});
  EXPECT_EQ(loaded(folder, true).warnings(),
            (std::vector<std::string>{"model.safetensors: tensor 'model.layers.0.extra': " + unused,
                                      "model.safetensors: tensor 'model.layers.0.self_attn.q_proj2.weight': " + unused,
                                      "model.safetensors: tensor 'vision\\x0a.weight': " + unused,
                                      "model.safetensors: tensor 'x': " + unused}));
  GgufFile file = gguf_;
  file.tensors.push_back(testing::gguf_tensor("mm.0.weight", {1}, {1}));
  EXPECT_EQ(loaded(file).warnings(), std::vector{"m.gguf: tensor 'mm.0.weight': " + unused});
}

// What the first Llama's checkpoints and tied ones hold besides.
TEST_F(TensorFaults, fault_026_known_extras_are_silent) {
  TinyFolder folder = folder_;
  folder.tensors.add("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {8}, std::vector<float>(8, 1.0f));
  folder.config["tie_word_embeddings"] = true;
  EXPECT_EQ(loaded(folder).warnings(), std::vector<std::string>{});
}

TEST_F(TensorFaults, fault_021_known_type_that_no_format_reads) {
  constexpr uint32_t kI8 = 24;
  GgufFile wide = testing::tiny_gguf({.hidden = 256});
  ASSERT_EQ(loaded(wide).vocab_size(), 40);
  GgufTensor& tensor = testing::tensor_of(wide, "blk.1.ffn_up.weight");
  tensor = {tensor.name, tensor.dims, kI8, 64 * 256};
  expect_failure(wide, "m.gguf: tensor 'blk.1.ffn_up.weight': type I8 is not supported yet");
  TinyFolder folder = folder_;
  folder.tensors.add("model.layers.1.mlp.up_proj.weight", "I16", {64, 48}, std::vector<int16_t>(64 * 48));
  expect_failure(folder, "tensor 'model.layers.1.mlp.up_proj.weight': type I16 is not supported yet");
}

// Dimensions that fit 64 bits and not 32; the files have all the bytes that they claim, as holes.
TEST_F(TensorFaults, fault_020_dimensions_beyond_32_bits) {
  constexpr uint64_t kLarge = (uint64_t{1} << 31) + 1, kF16 = 1;
  const auto expect_large = [&](const char* name, std::vector<uint64_t> dims, const std::string& part) {
    GgufFile file = gguf_;
    std::erase_if(file.tensors, [&](const GgufTensor& tensor) { return tensor.name == name; });
    file.tensors.push_back({name, std::move(dims), kF16, 0});  // the last one of the file
    const std::string path = write(file);
    std::error_code error;
    std::filesystem::resize_file(path, std::filesystem::file_size(path) + 2 * kLarge, error);
    if (error) GTEST_SKIP() << "no sparse files here: " << error.message();
    EXPECT_THAT(testing::quick_failure(ErrorKind::model, [&] { testing::open_engine(path); }), HasSubstr(part));
  };
  expect_large("blk.0.ffn_down.weight", {kLarge, 1},
               "shape does not fit the model (got [1, 2147483649], expected [48, 64])");
  expect_large("output_norm.weight", {kLarge}, "shape does not fit the model (got [2147483649], expected [48])");
  expect_large("token_embd.weight", {1, kLarge},
               "'token_embd.weight': not a matrix with a row per token (got [2147483649, 1], limit 2147483647 rows)");
}

TEST_F(TensorFaults, fault_028_file_changes_while_loading) {
  for (const bool grows : {true, false}) {
    const std::string path = write(gguf_);
    EngineOptions options;
    options.model = path;
    options.skip_tokenizer_init = true;
    bool changed = false;
    options.on_progress = [&](std::string_view, uint64_t, uint64_t) {
      if (std::exchange(changed, true)) return;
      const auto size = std::filesystem::file_size(path);
      std::filesystem::resize_file(path, grows ? size + 1 : size / 2);
    };
    EXPECT_EQ(testing::quick_failure(ErrorKind::io, [&] { Engine engine(options); }),
              "m.gguf: file changed while loading");
    EXPECT_TRUE(changed);
  }
}

// Sizes that a file merely claims cost nothing.
TEST_F(TensorFaults, small_hostile_models_stay_below_64_mb) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer keeps freed memory";
#endif
  const long before = testing::peak_kib(true);
  if (before < 0) GTEST_SKIP() << "no /proc/self/clear_refs";
  const std::pair<const char*, int64_t> largest[] = {{"hidden_size", 1 << 20},    {"intermediate_size", 1 << 20},
                                                     {"num_hidden_layers", 1024}, {"num_attention_heads", 1 << 14},
                                                     {"head_dim", 4096},          {"vocab_size", 1 << 24}};
  TinyFolder all = folder_;
  for (const auto& [key, value] : largest) {
    TinyFolder one = folder_;
    one.config[key] = all.config[key] = value;
    failure(one);
  }
  failure(all);
  EXPECT_LT(testing::peak_kib(false) - before, 64 << 10);
}

/// A block type of GGUF and where its float16 scales stand.
struct BlockType {
  const char* name;
  uint32_t id;
  uint64_t size, bytes;
  std::vector<size_t> scales;
};
const BlockType kBlockTypes[] = {
    {"Q4_0", 2, 32, 18, {0}},      {"Q4_1", 3, 32, 20, {0, 2}},    {"Q5_0", 6, 32, 22, {0}},
    {"Q5_1", 7, 32, 24, {0, 2}},   {"Q8_0", 8, 32, 34, {0}},       {"Q2_K", 10, 256, 84, {80, 82}},
    {"Q3_K", 11, 256, 110, {108}}, {"Q4_K", 12, 256, 144, {0, 2}}, {"Q5_K", 13, 256, 176, {0, 2}},
    {"Q6_K", 14, 256, 210, {208}}, {"F16", 1, 1, 2, {0}},          {"BF16", 30, 1, 2, {0}},
};

class WeightFaults : public ::testing::TestWithParam<BlockType> {
 protected:
  /// Random codes under small scales; `spoil` changes the bytes of a tensor.
  static GgufFile model(const BlockType& type, auto&& spoil) {
    GgufFile file = testing::tiny_gguf({.hidden = 256, .intermediate = 256, .heads = 16});
    uint32_t state = 1;
    for (GgufTensor& tensor : file.tensors) {
      if (tensor.dims.size() == 1) continue;
      tensor.type = type.id;
      tensor.n_bytes = tensor.dims[0] * tensor.dims[1] / type.size * type.bytes;
      tensor.data.resize(tensor.n_bytes);
      for (char& byte : tensor.data) byte = static_cast<char>((state = state * 1664525u + 1013904223u) >> 24);
      for (size_t block = 0; block < tensor.n_bytes; block += type.bytes)
        set_scales(tensor, type, block, 0x1400 + (state >> 24));
      spoil(tensor);
    }
    return file;
  }
  static void set_scales(GgufTensor& tensor, const BlockType& type, size_t block, uint32_t bits) {
    if (type.size == 1) bits = (type.id == 30 ? 0x3c00 : 0x2c00) + (bits & 0x1ff);  // the scale is the weight
    set_bits(tensor, type, block, static_cast<uint16_t>(bits));
  }
  static void set_bits(GgufTensor& tensor, const BlockType& type, size_t block, uint16_t bits) {
    for (const size_t at : type.scales) std::memcpy(tensor.data.data() + block + at, &bits, sizeof bits);
  }

  /// Generates from the file: a finite output or an error of the request alone, and the same again.
  std::string finish_reason(GgufFile file, const char* dtype) {
    testing::write_text(dir_.file("m.gguf"), file.write());
    EngineOptions options;
    options.model = dir_.file("m.gguf");
    options.dtype = dtype;
    options.threads = 1;
    options.skip_tokenizer_init = true;
    Engine engine(options);
    std::string reason;
    for (int i = 0; i < 2; ++i) {
      const RequestOutput output = run(engine);
      const CompletionOutput& completion = output.outputs.at(0);
      EXPECT_EQ(completion.finish_reason, i > 0 ? reason : completion.finish_reason);
      reason = completion.finish_reason;
      if (reason == "error") continue;
      EXPECT_EQ(completion.token_ids.size(), 4u);
      for (const TokenLogprobs& position : completion.logprobs.value()) {
        for (const auto& [id, entry] : position) EXPECT_TRUE(std::isfinite(entry.logprob)) << id;
      }
    }
    return reason;
  }

 private:
  static RequestOutput run(Engine& engine) {
    SamplingParams params;
    params.temperature = 0;
    params.max_tokens = 4;
    params.logprobs = 3;
    params.detokenize = false;
    params.output_kind = OutputKind::final_only;
    engine.add({.token_ids = {{1, 2, 3}}}, params);
    while (engine.has_unfinished()) {
      for (RequestOutput& output : engine.step()) {
        if (output.finished) return std::move(output);
      }
    }
    return {};
  }
  testing::TempDir dir_;
};

TEST_P(WeightFaults, fault_029_scales_that_are_no_numbers) {
  const BlockType& type = GetParam();
  for (const char* dtype : {"auto", "float32"}) {
    SCOPED_TRACE(dtype);
    EXPECT_EQ(finish_reason(model(type, [](GgufTensor&) {}), dtype), "length");
    const auto zero = [](GgufTensor& tensor) { std::ranges::fill(tensor.data, '\0'); };
    EXPECT_EQ(finish_reason(model(type, zero), dtype), "length");
    const auto all_ones = [](GgufTensor& tensor) { std::ranges::fill(tensor.data, '\xff'); };  // each scale is a NaN
    EXPECT_EQ(finish_reason(model(type, all_ones), dtype), "error");
    const bool bf16 = type.id == 30;
    for (const uint16_t bits : {bf16 ? 0x7fc0 : 0x7e00, bf16 ? 0x7f80 : 0x7c00, bf16 ? 0xff80 : 0xfc00}) {
      const auto one_block = [&](GgufTensor& tensor) {
        if (tensor.name == "blk.1.ffn_down.weight") set_bits(tensor, type, 0, bits);
      };
      EXPECT_EQ(finish_reason(model(type, one_block), dtype), "error") << bits;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, WeightFaults, ::testing::ValuesIn(kBlockTypes),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace packhorse
