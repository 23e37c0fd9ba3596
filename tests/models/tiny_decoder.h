#pragma once
// Decoders of a few thousand random weights, and their logits however the prompt is cut.

#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "formats/format_testing.h"
#include "models/table.h"
#include "nn/loader.h"

namespace packhorse::testing {

inline constexpr int64_t kHidden = 32, kHeads = 4, kKvHeads = 2, kHeadDim = 16, kInner = 48, kVocab = 64;

inline Json decoder_config(const char* architecture, int64_t layers) {
  return {{"architectures", {architecture}}, {"hidden_size", kHidden},
          {"intermediate_size", kInner},     {"num_attention_heads", kHeads},
          {"num_key_value_heads", kKvHeads}, {"head_dim", kHeadDim},
          {"num_hidden_layers", layers},     {"vocab_size", kVocab},
          {"max_position_embeddings", 256},  {"tie_word_embeddings", true}};
}

/// A tensor and its name without ".weight".
struct DecoderTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};

/// The tensors of a Llama of this many layers; its values depend on that number alone.
inline std::vector<DecoderTensor> decoder_tensors(int64_t layers) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<DecoderTensor> out;
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) {
    std::vector<float> values(static_cast<size_t>(shape[0] * shape[1]));
    for (float& v : values) v = normal(random) * 1.5f / std::sqrt(static_cast<float>(shape.back()));
    out.push_back({name, shape, std::move(values)});
  };
  const auto add_norm = [&](const std::string& name) {
    out.push_back({name, {kHidden}, std::vector<float>(static_cast<size_t>(kHidden), 1)});
  };
  add("model.embed_tokens", {kVocab, kHidden});
  add_norm("model.norm");
  for (int64_t layer = 0; layer < layers; ++layer) {
    const std::string at = fmt::format("model.layers.{}.", layer);
    add_norm(at + "input_layernorm");
    add_norm(at + "post_attention_layernorm");
    add(at + "self_attn.q_proj", {kHeads * kHeadDim, kHidden});
    add(at + "self_attn.k_proj", {kKvHeads * kHeadDim, kHidden});
    add(at + "self_attn.v_proj", {kKvHeads * kHeadDim, kHidden});
    add(at + "self_attn.o_proj", {kHidden, kHeads * kHeadDim});
    add(at + "mlp.gate_proj", {kInner, kHidden});
    add(at + "mlp.up_proj", {kInner, kHidden});
    add(at + "mlp.down_proj", {kHidden, kInner});
  }
  return out;
}

inline CheckpointView write_decoder(const TempDir& dir, const Json& config, const std::vector<DecoderTensor>& tensors) {
  TensorWriter writer;
  for (const DecoderTensor& tensor : tensors) writer.add(tensor.name + ".weight", "F32", tensor.shape, tensor.values);
  writer.write(dir, config);
  return open_checkpoint(dir.path().string());
}

inline std::vector<int32_t> random_prompt(int64_t n) {
  std::mt19937 random(5);
  std::vector<int32_t> tokens(static_cast<size_t>(n));
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % kVocab);
  return tokens;
}

/// A loaded checkpoint of float32 arithmetic.
class Decoder {
 public:
  explicit Decoder(const CheckpointView& view, int threads = 2) : pool_(threads) {
    const Arch& arch = find_arch(architectures(), view);
    LoadOptions options;
    options.fast = false, options.kv_dtype = KvDType::f32;
    Loader loader(view, arch, selector_, pool_, options);
    const Config config = view.is_gguf()
                              ? Config::from_gguf(view.gguf, view.path, arch.gguf.architecture, arch.gguf.keys)
                              : Config::from_hf(view.config);
    model_ = arch.build(config, loader);
    unused_ = loader.unused_tensors();
  }
  const Model& model() const { return *model_; }
  const std::vector<std::string>& unused() const { return unused_; }

  /// Logits of the last token, the tokens fed `chunk` at a time.
  std::vector<float> last_logits(std::span<const int32_t> tokens, int64_t chunk) {
    const auto n = static_cast<int64_t>(tokens.size());
    KvPool kv(model_->cache_specs(), n / kKvBlockTokens + 1);
    std::vector<int32_t> blocks(static_cast<size_t>(kv.n_blocks()));
    std::iota(blocks.begin(), blocks.end(), 0);
    Workspace workspace;
    ForwardCtx ctx{.pool = pool_, .workspace = workspace, .kv = kv};
    std::vector<float> out;
    for (int64_t begin = 0; begin < n; begin += chunk) {
      const auto part = tokens.subspan(static_cast<size_t>(begin), static_cast<size_t>(std::min(chunk, n - begin)));
      const auto count = static_cast<int64_t>(part.size());
      const Batch batch{
          .tokens = {part.begin(), part.end()},
          .spans = {{.first_token = 0, .n_tokens = count, .first_position = begin, .block_table = blocks}},
          .logit_rows = {static_cast<int32_t>(count - 1)}};
      const std::span<float> row = model_->forward(batch, ctx).row(0);
      out.assign(row.begin(), row.end());
    }
    return out;
  }

 private:
  KernelSelector selector_;
  ThreadPool pool_;
  std::unique_ptr<Model> model_;
  std::vector<std::string> unused_;
};

inline float worst_difference(const std::vector<float>& a, const std::vector<float>& b) {
  float worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::fabs(a[i] - b[i]));
  return worst;
}

}  // namespace packhorse::testing
