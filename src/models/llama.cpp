// Llama (arXiv 2302.13971, 2307.09288, 2407.21783): pre-norm blocks, rotary positions, grouped-query attention, SwiGLU.

#include "models/llama.h"

#include <cmath>

#include "models/mixtral.h"
#include "nn/attention.h"
#include "nn/rope.h"

namespace packhorse {
namespace {

constexpr int64_t kMaxLayers = 1024, kMaxWidth = 1 << 20, kMaxHeads = 1 << 14, kMaxHeadDim = 4096, kMaxVocab = 1 << 24,
                  kMaxPositions = int64_t{1} << 31;

struct Sizes {
  int64_t layers, hidden, intermediate, heads, kv_heads, head_dim, vocab, max_positions;
  double eps;
  bool tied;
};

int64_t read_head_dim(const Config& c, const Sizes& s) {
  const bool given = c.has("head_dim");
  if (!given && s.hidden % s.heads != 0) {
    c.reject("hidden_size", "not divisible by the number of heads (got {}, heads {})", s.hidden, s.heads);
  }
  const int64_t head_dim = c.size_or("head_dim", 2, kMaxHeadDim, s.hidden / s.heads);
  if (head_dim % 2 != 0 || head_dim > kMaxHeadDim) {
    c.reject(given ? "head_dim" : "num_attention_heads", "head size is not an even number up to {} (got {})",
             kMaxHeadDim, head_dim);
  }
  return head_dim;
}

Sizes read_sizes(const Config& c, const Loader& loader) {
  Sizes s{};
  s.layers = c.size("num_hidden_layers", 1, kMaxLayers);
  s.hidden = c.size("hidden_size", 1, kMaxWidth);
  s.intermediate = c.size("intermediate_size", 1, kMaxWidth);
  s.heads = c.size("num_attention_heads", 1, kMaxHeads);
  s.kv_heads = c.size_or("num_key_value_heads", 1, kMaxHeads, s.heads);
  if (s.heads % s.kv_heads != 0) {
    c.reject("num_key_value_heads", "not a divisor of the number of heads (got {}, heads {})", s.kv_heads, s.heads);
  }
  s.head_dim = read_head_dim(c, s);
  s.vocab = c.has("vocab_size") ? c.size("vocab_size", 1, kMaxVocab) : loader.vocab_rows();
  s.max_positions = c.size("max_position_embeddings", 1, kMaxPositions);
  s.eps = c.number_or("rms_norm_eps", 0, 1, 1e-6);
  s.tied = c.flag_or("tie_word_embeddings", false);
  const std::string act = c.text_or("hidden_act", "silu");
  if (act != "silu" && act != "swish")
    c.reject("hidden_act", "activation '{}' is not supported (silu)", printable(act));
  return s;
}

struct Block {
  RmsNorm attn_norm, mlp_norm;
  Linear qkv, o;
  FeedForward feed_forward;
  Attention attn;
  const AttentionShape shape;

  Block(const Scope& m, const Sizes& s, const LlamaVariant& variant, const AttentionShape& attention, int64_t layer)
      : attn_norm(m.loader().rms_norm(m / "input_layernorm", s.hidden, s.eps)),
        mlp_norm(m.loader().rms_norm(m / "post_attention_layernorm", s.hidden, s.eps)),
        qkv(m.loader().column(m / "self_attn",
                              {{"q_proj", s.heads * s.head_dim, s.heads},
                               {"k_proj", s.kv_heads * s.head_dim, s.kv_heads},
                               {"v_proj", s.kv_heads * s.head_dim}},
                              s.hidden)),
        o(m.loader().row(m / "self_attn" / "o_proj", s.hidden, s.heads * s.head_dim)),
        feed_forward(variant.feed_forward ? variant.feed_forward(m, s.hidden, s.intermediate)
                                          : GatedMlp(m / "mlp", s.hidden, s.intermediate)),
        attn(attention, layer, m.loader().selector(), m.loader().kv_scales(m / "self_attn", s.kv_heads)),
        shape(attention) {}

  /// x[m, hidden] is updated in place.
  void operator()(float* x, int64_t m, const Batch& batch, const Rope::Table& rope, ForwardCtx& f) const {
    const Workspace::Mark mark = f.workspace.mark();
    float* heads = qkv(attn_norm(x, m, f), m, f);
    Rope::rotate(rope, heads, m, shape.qkv_width(), shape.n_heads + shape.n_kv_heads, shape.head_dim, f);
    add_in_place(x, o(attn(heads, batch, f), m, f), m, o.n(), f);
    const float* normed = mlp_norm(x, m, f);
    add_in_place(x, std::visit([&](const auto& part) { return part(normed, m, f); }, feed_forward), m, o.n(), f);
    f.workspace.release(mark);
  }

  void visit(const WeightVisitor& visitor) const {
    qkv.visit(visitor);
    o.visit(visitor);
    std::visit([&](const auto& part) { part.visit(visitor); }, feed_forward);
  }
};

class Llama final : public Model {
 public:
  Llama(const Config& config, const Sizes& s, const LlamaVariant& variant, Loader& loader)
      : sizes_(s),
        spec_{.n_kv_heads = s.kv_heads, .head_dim = s.head_dim, .dtype = loader.options().kv_dtype},
        rope_(config, config.size_or("rotary_dim", 2, s.head_dim, s.head_dim),
              loader.options().max_model_len ? loader.options().max_model_len : s.max_positions,
              loader.rope_divisors()) {
    const Scope root = loader.root();
    AttentionShape shape{.n_heads = s.heads,
                         .n_kv_heads = s.kv_heads,
                         .head_dim = s.head_dim,
                         .scale = 1.0f / std::sqrt(static_cast<float>(s.head_dim))};
    embed_ = loader.embedding(root / "model" / "embed_tokens", s.vocab, s.hidden);
    for (int64_t layer = 0; layer < s.layers; ++layer) {
      shape.window = variant.window ? variant.window(layer) : 0;
      blocks_.emplace_back(root / "model" / "layers" / layer, s, variant, shape, layer);
    }
    if (const Scope next = root / "model" / "layers" / s.layers / "input_layernorm"; loader.has(next)) {
      config.reject("num_hidden_layers", "the checkpoint has more layers than that (got {}, found {})", s.layers,
                    loader.where(next));
    }
    norm_ = loader.rms_norm(root / "model" / "norm", s.hidden, s.eps);
    head_ = loader.head(root / "lm_head", embed_, s.tied);
  }

  Logits forward(const Batch& batch, ForwardCtx& f) const override {
    f.workspace.reset();
    const auto m = static_cast<int64_t>(batch.tokens.size()), n_rows = static_cast<int64_t>(batch.logit_rows.size());
    float* x = embed_(batch.tokens, f);
    const Rope::Table rope = rope_.table(batch, f);
    for (const Block& block : blocks_) block(x, m, batch, rope, f);
    if (const auto n_hidden = static_cast<int64_t>(batch.hidden_rows.size()))
      std::copy_n(normed_rows(x, batch.hidden_rows, f), n_hidden * sizes_.hidden, f.hidden);
    if (n_rows == 0) return {nullptr, 0, sizes_.vocab};
    return {head_(normed_rows(x, batch.logit_rows, f), n_rows, f), n_rows, sizes_.vocab};
  }

  std::vector<CacheSpec> cache_specs() const override { return std::vector(blocks_.size(), spec_); }
  void set_kv_scales(int64_t layer, const KvScales& scales) override {
    blocks_[static_cast<size_t>(layer)].attn.set_scales(scales);
  }
  int64_t vocab_size() const override { return sizes_.vocab; }
  int64_t hidden_size() const override { return sizes_.hidden; }
  int64_t max_positions() const override { return sizes_.max_positions; }

  void visit_weights(const WeightVisitor& visit) const override {
    embed_.visit(visit);
    for (const Block& block : blocks_) block.visit(visit);
    head_.visit(visit);
  }

 private:
  /// [rows, hidden]: chosen rows of x after the last norm.
  float* normed_rows(const float* x, std::span<const int32_t> rows, ForwardCtx& f) const {
    const auto n = static_cast<int64_t>(rows.size());
    float* chosen = f.workspace.allocate<float>(n * sizes_.hidden);
    for (int64_t i = 0; i < n; ++i)
      std::copy_n(x + rows[static_cast<size_t>(i)] * sizes_.hidden, sizes_.hidden, chosen + i * sizes_.hidden);
    return norm_(chosen, n, f);
  }

  Sizes sizes_;
  CacheSpec spec_;
  Rope rope_;
  Embedding embed_;
  std::vector<Block> blocks_;
  RmsNorm norm_;
  Linear head_;
};

constexpr std::string_view kArchitectures[] = {"LlamaForCausalLM"};

/// GGUF calls Mixtral a llama that has experts.
std::unique_ptr<Model> build(const Config& config, Loader& loader) {
  return read_experts(config).all > 0 ? build_mixtral(config, loader) : build_llama(config, loader);
}

}  // namespace

std::unique_ptr<Model> build_llama(const Config& config, Loader& loader, const LlamaVariant& variant) {
  const Sizes sizes = read_sizes(config, loader);
  if (const int64_t experts = read_experts(config).all; experts > 0 && !variant.feed_forward)
    config.reject("num_local_experts", "this architecture has no experts (got {})", experts);
  return std::make_unique<Llama>(config, sizes, variant, loader);
}

int64_t read_window(const Config& config) { return config.size_or("sliding_window", 1, kMaxPositions, 0); }

extern const Arch kLlama{
    .name = "llama",
    .hf_architectures = kArchitectures,
    .gguf = {.architecture = "llama", .modules = kDecoderModules, .keys = kDecoderKeys, .interleaved_rope = true},
    .build = build,
};

}  // namespace packhorse
