#pragma once
// A Llama of two layers with made-up weights, as a GGUF file and as a Hugging Face folder. Tests load it and then break
// one thing of it.

#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <string>
#include <vector>

#include "formats/format_testing.h"
#include "io/gguf_writer.h"
#include "packhorse/packhorse.h"
#include "testing.h"

namespace packhorse::testing {

/// No matrix is square but where `hidden` equals another size.
struct TinySizes {
  int64_t layers = 2, hidden = 48, intermediate = 64, heads = 2, kv_heads = 1, head_dim = 16, vocab = 40;
};

struct TinyTensor {
  std::string hf, gguf;        // without ".weight"
  std::vector<int64_t> shape;  // outermost first
};

inline std::vector<TinyTensor> tiny_tensors(const TinySizes& s) {
  std::vector<TinyTensor> out = {{"model.embed_tokens", "token_embd", {s.vocab, s.hidden}}};
  for (int64_t i = 0; i < s.layers; ++i) {
    const std::string hf = fmt::format("model.layers.{}.", i), gguf = fmt::format("blk.{}.", i);
    out.push_back({hf + "input_layernorm", gguf + "attn_norm", {s.hidden}});
    out.push_back({hf + "self_attn.q_proj", gguf + "attn_q", {s.heads * s.head_dim, s.hidden}});
    out.push_back({hf + "self_attn.k_proj", gguf + "attn_k", {s.kv_heads * s.head_dim, s.hidden}});
    out.push_back({hf + "self_attn.v_proj", gguf + "attn_v", {s.kv_heads * s.head_dim, s.hidden}});
    out.push_back({hf + "self_attn.o_proj", gguf + "attn_output", {s.hidden, s.heads * s.head_dim}});
    out.push_back({hf + "post_attention_layernorm", gguf + "ffn_norm", {s.hidden}});
    out.push_back({hf + "mlp.gate_proj", gguf + "ffn_gate", {s.intermediate, s.hidden}});
    out.push_back({hf + "mlp.up_proj", gguf + "ffn_up", {s.intermediate, s.hidden}});
    out.push_back({hf + "mlp.down_proj", gguf + "ffn_down", {s.hidden, s.intermediate}});
  }
  out.push_back({"model.norm", "output_norm", {s.hidden}});
  out.push_back({"lm_head", "output", {s.vocab, s.hidden}});
  return out;
}

/// Small weights that differ; norms are 1.
inline std::vector<float> tiny_values(const TinyTensor& tensor) {
  int64_t n = 1;
  for (const int64_t dim : tensor.shape) n *= dim;
  std::vector<float> values(static_cast<size_t>(n), 1.0f);
  if (tensor.shape.size() == 1) return values;
  uint32_t state = static_cast<uint32_t>(tensor.gguf.size() * 2654435761u + static_cast<uint32_t>(n));
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int32_t>(state >> 8) - (1 << 23)) / static_cast<float>(1 << 25);
  }
  return values;
}

inline constexpr uint32_t kGgmlF32 = 0;

inline GgufTensor gguf_tensor(const std::string& name, const std::vector<int64_t>& shape,
                              const std::vector<float>& values) {
  GgufTensor out{name, {shape.rbegin(), shape.rend()}, kGgmlF32, values.size() * sizeof(float)};
  out.data.assign(reinterpret_cast<const char*>(values.data()), out.n_bytes);
  return out;
}

inline GgufFile tiny_gguf(const TinySizes& s = {}) {
  const auto count = [](int64_t n) { return static_cast<uint32_t>(n); };
  GgufFile file;
  file.keys = {string_key("general.architecture", "llama"),
               u32_key("llama.block_count", count(s.layers)),
               u32_key("llama.context_length", 128),
               u32_key("llama.embedding_length", count(s.hidden)),
               u32_key("llama.feed_forward_length", count(s.intermediate)),
               u32_key("llama.attention.head_count", count(s.heads)),
               u32_key("llama.attention.head_count_kv", count(s.kv_heads)),
               u32_key("llama.attention.key_length", count(s.head_dim)),
               f32_key("llama.attention.layer_norm_rms_epsilon", 1e-5f)};
  for (const TinyTensor& tensor : tiny_tensors(s))
    file.tensors.push_back(gguf_tensor(tensor.gguf + ".weight", tensor.shape, tiny_values(tensor)));
  return file;
}

inline void set_key(GgufFile& file, GgufKey key) {
  const auto same = [&](const GgufKey& other) { return other.name == key.name; };
  const auto found = std::find_if(file.keys.begin(), file.keys.end(), same);
  if (found == file.keys.end())
    file.keys.push_back(std::move(key));
  else
    *found = std::move(key);
}
inline void remove_key(GgufFile& file, const std::string& name) {
  std::erase_if(file.keys, [&](const GgufKey& key) { return key.name == name; });
}
inline GgufTensor& tensor_of(GgufFile& file, const std::string& name) {
  const auto found = std::find_if(file.tensors.begin(), file.tensors.end(),
                                  [&](const GgufTensor& tensor) { return tensor.name == name; });
  if (found == file.tensors.end()) throw std::runtime_error("no tensor " + name);
  return *found;
}

/// A Hugging Face folder before it is written.
struct TinyFolder {
  Json config;
  TensorWriter tensors;
};

inline TinyFolder tiny_folder(const TinySizes& s = {}) {
  TinyFolder out;
  out.config = {{"architectures", {"LlamaForCausalLM"}},
                {"model_type", "llama"},
                {"num_hidden_layers", s.layers},
                {"hidden_size", s.hidden},
                {"intermediate_size", s.intermediate},
                {"num_attention_heads", s.heads},
                {"num_key_value_heads", s.kv_heads},
                {"head_dim", s.head_dim},
                {"vocab_size", s.vocab},
                {"max_position_embeddings", 128},
                {"rms_norm_eps", 1e-5},
                {"rope_theta", 10000.0},
                {"hidden_act", "silu"},
                {"tie_word_embeddings", false},
                {"torch_dtype", "float32"}};
  for (const TinyTensor& tensor : tiny_tensors(s))
    out.tensors.add(tensor.hf + ".weight", "F32", tensor.shape, tiny_values(tensor));
  return out;
}

/// Opens a model; without a tokenizer, since most tests need none.
inline Engine open_engine(const std::string& path, bool verbose = false) {
  EngineOptions options;
  options.model = path;
  options.threads = 1;
  options.skip_tokenizer_init = true;
  options.verbose = verbose;
  options.max_num_seqs = 4;
  return Engine(options);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr double kMaxLoadSeconds = 10;
#else
inline constexpr double kMaxLoadSeconds = 1;
#endif

/// Message of the Error of this kind that opening must throw: one line, and quickly.
template <class Open>
std::string quick_failure(ErrorKind kind, Open&& open) {
  const std::clock_t begin = std::clock();
  const std::string message = failure_of(kind, open);
  EXPECT_LT(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC, kMaxLoadSeconds) << message;
  EXPECT_LT(message.size(), 600u) << message;
  return message;
}

/// A tiny model in a folder of its own, in both forms; the good ones load before anything is broken.
class TinyLlamaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    EXPECT_EQ(loaded(gguf_).warnings(), std::vector<std::string>{});
    EXPECT_EQ(loaded(folder_).warnings(), std::vector<std::string>{});
  }

  std::string write(GgufFile file) const {
    write_text(gguf_dir_.file("m.gguf"), file.write());
    return gguf_dir_.file("m.gguf");
  }
  std::string write(const TinyFolder& folder) const {
    folder.tensors.write(folder_dir_, folder.config);
    return folder_dir_.path();
  }
  Engine loaded(const auto& model, bool verbose = false) const { return open_engine(write(model), verbose); }
  std::string failure(const auto& model) const {
    return quick_failure(ErrorKind::model, [path = write(model)] { open_engine(path); });
  }
  void expect_failure(const auto& model, std::string_view part) const {
    const std::string message = failure(model);
    EXPECT_NE(message.find(part), message.npos) << "got: " << message << "\nexpected: " << part;
  }
  /// The good file or folder after `change`.
  void expect_bad_gguf(auto&& change, std::string_view part) const {
    GgufFile file = gguf_;
    change(file);
    expect_failure(file, part);
  }
  void expect_bad_key(GgufKey key, std::string_view part) const {
    expect_bad_gguf([&](GgufFile& file) { set_key(file, key); }, part);
  }
  void expect_bad_config(const std::string& key, const Json& value, std::string_view part) const {
    TinyFolder folder = folder_;
    folder.config[key] = value;
    expect_failure(folder, part);
  }

  const GgufFile gguf_ = tiny_gguf();
  const TinyFolder folder_ = tiny_folder();
  TempDir gguf_dir_, folder_dir_;
};

}  // namespace packhorse::testing
