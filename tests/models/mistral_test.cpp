#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "formats/format_testing.h"
#include "models/table.h"
#include "nn/loader.h"

namespace packhorse {
namespace {

constexpr int64_t kHidden = 32, kHeads = 4, kKvHeads = 2, kHeadDim = 16, kInner = 48, kVocab = 64;

Json config_of(const char* architecture, int64_t layers, const Json& window) {
  return {{"architectures", {architecture}}, {"hidden_size", kHidden},
          {"intermediate_size", kInner},     {"num_attention_heads", kHeads},
          {"num_key_value_heads", kKvHeads}, {"head_dim", kHeadDim},
          {"num_hidden_layers", layers},     {"vocab_size", kVocab},
          {"max_position_embeddings", 256},  {"tie_word_embeddings", true},
          {"sliding_window", window}};
}

/// A tiny checkpoint of random weights, which depend on the number of layers alone.
CheckpointView checkpoint(const testing::TempDir& dir, const Json& config) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  testing::TensorWriter writer;
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) {
    std::vector<float> values(static_cast<size_t>(shape[0] * (shape.size() == 2 ? shape[1] : 1)));
    for (float& v : values) v = normal(random) * 1.5f / std::sqrt(static_cast<float>(shape.back()));
    writer.add(name, "F32", shape, values);
  };
  const auto add_norm = [&](const std::string& name) {
    writer.add(name, "F32", {kHidden}, std::vector<float>(static_cast<size_t>(kHidden), 1));
  };
  add("model.embed_tokens.weight", {kVocab, kHidden});
  add_norm("model.norm.weight");
  for (int64_t layer = 0; layer < config.at("num_hidden_layers"); ++layer) {
    const std::string at = fmt::format("model.layers.{}.", layer);
    add_norm(at + "input_layernorm.weight");
    add_norm(at + "post_attention_layernorm.weight");
    add(at + "self_attn.q_proj.weight", {kHeads * kHeadDim, kHidden});
    add(at + "self_attn.k_proj.weight", {kKvHeads * kHeadDim, kHidden});
    add(at + "self_attn.v_proj.weight", {kKvHeads * kHeadDim, kHidden});
    add(at + "self_attn.o_proj.weight", {kHidden, kHeads * kHeadDim});
    add(at + "mlp.gate_proj.weight", {kInner, kHidden});
    add(at + "mlp.up_proj.weight", {kInner, kHidden});
    add(at + "mlp.down_proj.weight", {kHidden, kInner});
  }
  writer.write(dir, config);
  return open_checkpoint(dir.path().string());
}

/// Logits of the last token, the tokens fed `chunk` at a time.
std::vector<float> last_logits(const Json& config, std::span<const int32_t> tokens, int64_t chunk) {
  const testing::TempDir dir;
  const CheckpointView view = checkpoint(dir, config);
  const KernelSelector selector;
  ThreadPool pool(2);
  const Arch& arch = find_arch(architectures(), view);
  LoadOptions options;
  options.fast = false, options.kv_dtype = KvDType::f32;
  Loader loader(view, arch, selector, pool, options);
  const std::unique_ptr<Model> model = arch.build(Config::from_hf(view.config), loader);
  const auto n = static_cast<int64_t>(tokens.size());
  KvPool kv(model->cache_specs(), n / kKvBlockTokens + 1);
  std::vector<int32_t> blocks(static_cast<size_t>(kv.n_blocks()));
  std::iota(blocks.begin(), blocks.end(), 0);
  Workspace workspace;
  ForwardCtx ctx{.pool = pool, .workspace = workspace, .kv = kv};
  std::vector<float> out;
  for (int64_t begin = 0; begin < n; begin += chunk) {
    const auto part = tokens.subspan(static_cast<size_t>(begin), static_cast<size_t>(std::min(chunk, n - begin)));
    const auto count = static_cast<int64_t>(part.size());
    const Batch batch{.tokens = {part.begin(), part.end()},
                      .spans = {{.first_token = 0, .n_tokens = count, .first_position = begin, .block_table = blocks}},
                      .logit_rows = {static_cast<int32_t>(count - 1)}};
    const std::span<float> row = model->forward(batch, ctx).row(0);
    out.assign(row.begin(), row.end());
  }
  return out;
}

float worst_difference(const std::vector<float>& a, const std::vector<float>& b) {
  float worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::fabs(a[i] - b[i]));
  return worst;
}

std::vector<int32_t> prompt(int64_t n) {
  std::mt19937 random(5);
  std::vector<int32_t> tokens(static_cast<size_t>(n));
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % kVocab);
  return tokens;
}

// Rotary positions are relative, so in one layer the last token's logits with a window of w are those of the last w
// tokens alone.
TEST(Mistral, WindowOfOneLayerIsTheTailOfThePrompt) {
  constexpr float kRounding = 1e-4f, kEffect = 2e-3f;
  const std::vector<int32_t> tokens = prompt(100);
  const auto tail = [&](int64_t n) {
    const auto part = std::span(tokens).last(static_cast<size_t>(n));
    return last_logits(config_of("LlamaForCausalLM", 1, nullptr), part, n);
  };
  for (const int64_t window : {1, 15, 16, 17, 64, 99}) {
    const Json config = config_of("MistralForCausalLM", 1, window);
    const std::vector<float> logits = last_logits(config, tokens, 100);
    EXPECT_LT(worst_difference(logits, tail(window)), kRounding) << "window " << window;
    EXPECT_GT(worst_difference(logits, tail(window + 1)), kEffect) << "one token more is another result";
    for (const int64_t chunk : {1, 7, 33}) EXPECT_EQ(last_logits(config, tokens, chunk), logits) << "chunk " << chunk;
  }
}

TEST(Mistral, NoWindowIsLlama) {
  const std::vector<int32_t> tokens = prompt(60);
  const std::vector<float> llama = last_logits(config_of("LlamaForCausalLM", 2, 8), tokens, 60);
  for (const Json& window : {Json(nullptr), Json(60), Json(4096)}) {
    EXPECT_EQ(last_logits(config_of("MistralForCausalLM", 2, window), tokens, 60), llama) << window;
  }
  EXPECT_NE(last_logits(config_of("MistralForCausalLM", 2, 59), tokens, 60), llama);
}

TEST(Mistral, WindowOutOfRangeIsNamed) {
  for (const Json& window : {Json(0), Json(-1), Json(2.5), Json("4096")}) {
    const std::string message = testing::failure_of(
        ErrorKind::model, [&] { last_logits(config_of("MistralForCausalLM", 1, window), prompt(4), 4); });
    EXPECT_NE(message.find("sliding_window"), message.npos) << message;
  }
}

// Qwen2 has windows in its upper layers, if it says so.
TEST(Qwen2, WindowsInTheUpperLayers) {
  const std::vector<int32_t> tokens = prompt(60);
  const auto logits = [&](bool use, int64_t first) {
    Json config = config_of("Qwen2ForCausalLM", 2, 8);
    config.update({{"use_sliding_window", use}, {"max_window_layers", first}});
    return last_logits(config, tokens, 60);
  };
  const std::vector<float> full = last_logits(config_of("LlamaForCausalLM", 2, nullptr), tokens, 60);
  EXPECT_EQ(logits(false, 0), full);
  EXPECT_EQ(logits(true, 2), full);
  EXPECT_EQ(logits(true, 0), last_logits(config_of("MistralForCausalLM", 2, 8), tokens, 60));
  EXPECT_NE(logits(true, 1), full);
  EXPECT_NE(logits(true, 1), logits(true, 0));
}

}  // namespace
}  // namespace packhorse
