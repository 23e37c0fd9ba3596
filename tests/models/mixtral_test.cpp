#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "io/gguf_writer.h"
#include "models/tiny_decoder.h"

namespace packhorse {
namespace {

using testing::DecoderTensor;
using testing::kHeadDim, testing::kHidden, testing::kInner, testing::worst_difference;

constexpr int64_t kLayers = 2, kExperts = 4;

Json mixtral_config(const char* architecture = "MixtralForCausalLM", const Json& used = 2) {
  Json config = testing::decoder_config(architecture, kLayers);
  config.update({{"num_local_experts", kExperts}, {"num_experts_per_tok", used}});
  return config;
}

/// A Mixtral whose experts are those of the Llama of testing::decoder_tensors times a number of their own.
std::vector<DecoderTensor> mixtral_tensors(const std::vector<float>& factors = {1, 0.5f, -2, 1.5f}) {
  std::vector<DecoderTensor> out;
  std::mt19937 random(8);
  std::normal_distribution<float> normal;
  for (const DecoderTensor& tensor : testing::decoder_tensors(kLayers)) {
    const size_t mlp = tensor.name.find(".mlp.");
    if (mlp == tensor.name.npos) {
      out.push_back(tensor);
      continue;
    }
    const std::string block = tensor.name.substr(0, mlp) + ".block_sparse_moe.";
    const std::string part = tensor.name.substr(mlp + 5);
    const char* name = part == "gate_proj" ? "w1" : part == "up_proj" ? "w3" : "w2";
    for (size_t e = 0; e < factors.size(); ++e) {
      DecoderTensor expert{fmt::format("{}experts.{}.{}", block, e, name), tensor.shape, tensor.values};
      for (float& value : expert.values) value *= factors[e];
      out.push_back(std::move(expert));
    }
    if (part != "gate_proj") continue;
    DecoderTensor router{block + "gate", {static_cast<int64_t>(factors.size()), kHidden}, {}};
    for (size_t i = 0; i < factors.size() * kHidden; ++i) router.values.push_back(normal(random));
    out.push_back(std::move(router));
  }
  return out;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  if (const size_t at = text.find(from); at != text.npos) text.replace(at, from.size(), to);
  return text;
}

/// The same under the names that other tools give.
std::vector<DecoderTensor> renamed(std::vector<DecoderTensor> tensors, std::string_view block) {
  for (DecoderTensor& tensor : tensors) {
    if (tensor.name.find(".block_sparse_moe.") == tensor.name.npos) continue;
    tensor.name = replaced(tensor.name, "block_sparse_moe", block);
    for (const auto& [from, to] : {std::pair{".w1", ".gate_proj"}, {".w3", ".up_proj"}, {".w2", ".down_proj"}})
      tensor.name = replaced(tensor.name, from, to);
  }
  return tensors;
}

std::vector<float> logits(const Json& config, const std::vector<DecoderTensor>& tensors, int64_t chunk = 40,
                          int threads = 2) {
  const testing::TempDir dir;
  const CheckpointView view = testing::write_decoder(dir, config, tensors);
  testing::Decoder decoder(view, threads);
  EXPECT_EQ(decoder.unused(), std::vector<std::string>{});
  return decoder.last_logits(testing::random_prompt(40), chunk);
}

std::string failure(const Json& config, const std::vector<DecoderTensor>& tensors) {
  return testing::failure_of(ErrorKind::model, [&] { logits(config, tensors); });
}

// --- GGUF ---

std::string gguf_name(const std::string& name) {
  if (name == "model.embed_tokens") return "token_embd";
  if (name == "model.norm") return "output_norm";
  std::string out = replaced(name, "model.layers.", "blk.");
  for (const auto& [from, to] : {std::pair{"input_layernorm", "attn_norm"},
                                 {"post_attention_layernorm", "ffn_norm"},
                                 {"self_attn.o_proj", "attn_output"},
                                 {"self_attn.q_proj", "attn_q"},
                                 {"self_attn.k_proj", "attn_k"},
                                 {"self_attn.v_proj", "attn_v"},
                                 {"block_sparse_moe.gate", "ffn_gate_inp"}})
    out = replaced(out, from, to);
  return out;
}

/// Rows of the halves of each head next to each other, as converters leave them.
std::vector<float> interleaved(const DecoderTensor& tensor) {
  const int64_t k = tensor.shape[1];
  std::vector<float> out(tensor.values.size());
  for (int64_t row = 0; row < tensor.shape[0]; ++row) {
    const int64_t head = row / kHeadDim * kHeadDim, i = row % kHeadDim;
    const int64_t to = head + i % (kHeadDim / 2) * 2 + i / (kHeadDim / 2);
    std::copy_n(tensor.values.begin() + row * k, k, out.begin() + to * k);
  }
  return out;
}

void add_tensor(testing::GgufFile& file, const std::string& name, const std::vector<int64_t>& shape,
                const std::vector<float>& values) {
  testing::GgufTensor tensor{name + ".weight", {shape.rbegin(), shape.rend()}, 0, values.size() * sizeof(float)};
  tensor.data.assign(reinterpret_cast<const char*>(values.data()), tensor.n_bytes);
  file.tensors.push_back(std::move(tensor));
}

testing::GgufFile mixtral_gguf(bool stacked) {
  testing::GgufFile file;
  const auto key = [&](const char* name, int64_t value) {
    file.keys.push_back(testing::u32_key(std::string("llama.") + name, static_cast<uint32_t>(value)));
  };
  file.keys = {testing::string_key("general.architecture", "llama"),
               testing::f32_key("llama.attention.layer_norm_rms_epsilon", 1e-6f)};
  key("block_count", kLayers), key("context_length", 256), key("embedding_length", kHidden);
  key("feed_forward_length", kInner), key("attention.head_count", testing::kHeads);
  key("attention.head_count_kv", testing::kKvHeads), key("attention.key_length", kHeadDim);
  key("expert_count", kExperts), key("expert_used_count", 2);
  std::map<std::string, DecoderTensor> stacks;
  for (const DecoderTensor& tensor : mixtral_tensors()) {
    const size_t experts = tensor.name.find("block_sparse_moe.experts.");
    if (experts == tensor.name.npos) {
      const bool rotates = tensor.name.ends_with("q_proj") || tensor.name.ends_with("k_proj");
      add_tensor(file, gguf_name(tensor.name), tensor.shape, rotates ? interleaved(tensor) : tensor.values);
      continue;
    }
    const std::string layer = replaced(tensor.name.substr(0, experts), "model.layers.", "blk.");
    const char expert = tensor.name[experts + std::string_view("block_sparse_moe.experts.").size()];
    const std::string part = tensor.name.ends_with("w1")   ? "ffn_gate"
                             : tensor.name.ends_with("w3") ? "ffn_up"
                                                           : "ffn_down";
    if (!stacked) {
      add_tensor(file, layer + part + "." + expert, tensor.shape, tensor.values);
      continue;
    }
    DecoderTensor& all = stacks[layer + part + "_exps"];
    all.shape = {kExperts, tensor.shape[0], tensor.shape[1]};
    all.values.insert(all.values.end(), tensor.values.begin(), tensor.values.end());
  }
  for (const auto& [name, tensor] : stacks) add_tensor(file, name, tensor.shape, tensor.values);
  return file;
}

class Gguf {
 public:
  explicit Gguf(testing::GgufFile file) {
    testing::write_text(dir_.file("m.gguf"), file.write());
    view_ = open_checkpoint(dir_.file("m.gguf"));
  }
  const CheckpointView& view() const { return view_; }

 private:
  testing::TempDir dir_;
  CheckpointView view_;
};

std::vector<std::string> module_names(const Model& model) {
  std::vector<std::string> out;
  model.visit_weights([&](const ModuleRows& rows, const PackedWeight&) { out.push_back(rows.module); });
  return out;
}

// --- tests ---

// One expert, or equal ones, are the dense model.
TEST(Mixtral, OfEqualExpertsIsLlama) {
  const std::vector<float> dense =
      logits(testing::decoder_config("LlamaForCausalLM", kLayers), testing::decoder_tensors(kLayers));
  Json config = mixtral_config();
  EXPECT_LT(worst_difference(logits(config, mixtral_tensors({1, 1, 1, 1})), dense), 1e-5f);
  config.update({{"num_local_experts", 1}, {"num_experts_per_tok", 1}});
  EXPECT_EQ(logits(config, mixtral_tensors({1})), dense);
  EXPECT_GT(worst_difference(logits(mixtral_config(), mixtral_tensors()), dense), 1e-2f);
}

TEST(Mixtral, ChunksAndThreadsAreTheSameBits) {
  const std::vector<float> whole = logits(mixtral_config(), mixtral_tensors());
  for (const int64_t chunk : {1, 7, 33}) {
    for (const int threads : {1, 3}) EXPECT_EQ(logits(mixtral_config(), mixtral_tensors(), chunk, threads), whole);
  }
}

TEST(Mixtral, AllNamingsAreOneModel) {
  const std::vector<DecoderTensor> tensors = mixtral_tensors();
  const std::vector<float> want = logits(mixtral_config(), tensors);
  EXPECT_EQ(logits(mixtral_config(), renamed(tensors, "block_sparse_moe")), want);
  EXPECT_EQ(logits(mixtral_config(), renamed(tensors, "mlp")), want);
  // Each layer by itself: one of each kind.
  std::vector<DecoderTensor> mixed = tensors;
  const std::vector<DecoderTensor> other = renamed(tensors, "mlp");
  for (size_t i = 0; i < mixed.size(); ++i) {
    if (mixed[i].name.starts_with("model.layers.1.")) mixed[i] = other[i];
  }
  EXPECT_EQ(logits(mixtral_config(), mixed), want);
}

TEST(Mixtral, GgufIsTheSameModelUnderTheSameNames) {
  const testing::TempDir dir;
  const CheckpointView view = testing::write_decoder(dir, mixtral_config(), mixtral_tensors());
  testing::Decoder folder(view);
  const std::vector<int32_t> tokens = testing::random_prompt(40);
  for (const bool stacked : {true, false}) {
    const Gguf gguf(mixtral_gguf(stacked));
    testing::Decoder file(gguf.view());
    EXPECT_EQ(file.unused(), std::vector<std::string>{});
    EXPECT_EQ(file.last_logits(tokens, 40), folder.last_logits(tokens, 40)) << (stacked ? "stacked" : "apart");
    EXPECT_EQ(module_names(file.model()), module_names(folder.model()));
  }
  const std::vector<std::string> names = module_names(folder.model());
  EXPECT_NE(std::ranges::find(names, "model.layers.1.block_sparse_moe.experts.3.w2"), names.end());
}

TEST(Mixtral, StacksThatDoNotFitAreNamed) {
  testing::GgufFile file = mixtral_gguf(true);
  const auto down = std::ranges::find(file.tensors, "blk.1.ffn_down_exps.weight", &testing::GgufTensor::name);
  testing::GgufFile bad = file;
  auto& dims = bad.tensors[static_cast<size_t>(down - file.tensors.begin())].dims;
  std::swap(dims[0], dims[1]);
  const auto load = [](const testing::GgufFile& gguf) {
    return testing::failure_of(ErrorKind::model, [&] { testing::Decoder decoder(Gguf(gguf).view()); });
  };
  EXPECT_NE(load(bad).find(
                "'blk.1.ffn_down_exps.weight': shape does not fit the model (got [4, 48, 32], expected [4, 32, 48])"),
            std::string::npos)
      << load(bad);
  file.tensors.erase(down);
  EXPECT_NE(load(file).find("missing tensor 'blk.1.ffn_down_exps.weight' (expected [4, 32, 48])"), std::string::npos)
      << load(file);
}

// A llama with experts is a mixtral, in any container; the other architectures have none.
TEST(Mixtral, MayCallItselfLlama) {
  EXPECT_EQ(logits(mixtral_config("LlamaForCausalLM"), mixtral_tensors()), logits(mixtral_config(), mixtral_tensors()));
  for (const char* name : {"MistralForCausalLM", "Qwen2ForCausalLM"}) {
    EXPECT_EQ(failure(mixtral_config(name), mixtral_tensors()),
              "config.json: key 'num_local_experts': this architecture has no experts (got 4)");
  }
  EXPECT_NE(
      failure(mixtral_config("LlamaForCausalLM"), testing::decoder_tensors(kLayers)).find("block_sparse_moe.gate"),
      std::string::npos);
}

TEST(Mixtral, CountsOutOfRangeAreNamed) {
  const auto message = [](const char* key, const Json& value) {
    Json config = mixtral_config();
    config[key] = value;
    return failure(config, mixtral_tensors());
  };
  const std::string used = "config.json: key 'num_experts_per_tok': ";
  EXPECT_EQ(message("num_experts_per_tok", 5), used + "more than there are experts (got 5, experts 4)");
  EXPECT_EQ(message("num_experts_per_tok", 0), used + "not a whole number in 1..65536 (got 0)");
  EXPECT_EQ(message("num_experts_per_tok", nullptr), "config.json: missing key 'num_experts_per_tok'");
  EXPECT_EQ(message("num_local_experts", nullptr), "config.json: missing key 'num_local_experts'");
  for (const Json& count : {Json(0), Json(-1), Json("4"), Json(1 << 17)})
    EXPECT_NE(message("num_local_experts", count).find("'num_local_experts': not a whole number in 1..65536"),
              std::string::npos);
  EXPECT_NE(message("num_local_experts", 5).find("block_sparse_moe.gate.weight': shape"), std::string::npos);
}

TEST(Mixtral, HasMistralsWindow) {
  Json config = mixtral_config();
  const std::vector<float> full = logits(config, mixtral_tensors());
  config["sliding_window"] = 40;
  EXPECT_EQ(logits(config, mixtral_tensors()), full);
  config["sliding_window"] = 10;
  EXPECT_GT(worst_difference(logits(config, mixtral_tensors()), full), 1e-3f);
}

}  // namespace
}  // namespace packhorse
