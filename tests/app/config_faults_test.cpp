// Rows 15 to 17 and 46 to 49 of the fault catalogue: settings of a model, in GGUF keys and in config.json.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "app/tiny_llama.h"
#include "models/table.h"

namespace packhorse {
namespace {

using testing::GgufFile;
using testing::GgufKey;
using testing::TinyFolder;
using testing::TinySizes;
using ConfigFaults = testing::TinyLlamaTest;

GgufKey u64_key(std::string name, uint64_t value) {
  GgufKey key{std::move(name), 10, {}};
  testing::put(key.value, value);
  return key;
}
GgufKey bool_key(std::string name, bool value) { return {std::move(name), 7, std::string(1, value ? '\1' : '\0')}; }

TEST_F(ConfigFaults, fault_015_required_keys) {
  for (const char* name : {"llama.block_count", "llama.context_length", "llama.embedding_length",
                           "llama.feed_forward_length", "llama.attention.head_count"}) {
    SCOPED_TRACE(name);
    expect_bad_gguf([&](GgufFile& file) { testing::remove_key(file, name); },
                    fmt::format("m.gguf: missing key '{}'", name));
    const std::string what = fmt::format("m.gguf: key '{}': not a whole number in 1..", name);
    for (const auto& [key, shown] : std::vector<std::pair<GgufKey, std::string>>{
             {testing::string_key(name, "2"), "(got \"2\")"},
             {testing::string_key(name, "\xff\n"), "(got \"\\xff\\x0a\")"},
             {testing::string_key(name, std::string(1000, '2')), "(got \"" + std::string(80, '2') + "...\")"},
             {testing::array_key<uint32_t>(name, 4, {2}), "(got an array of 1)"},
             {testing::f32_key(name, 2.5f), "(got 2.5)"},
             {testing::i32_key(name, -2), "(got -2)"},
             {bool_key(name, true), "(got true)"}}) {
      expect_bad_key(key, what);
      expect_bad_key(key, shown);
    }
  }
}

TEST_F(ConfigFaults, fault_015_optional_keys_of_a_wrong_type) {
  for (const char* name : {"llama.attention.head_count_kv", "llama.attention.key_length", "llama.rope.dimension_count",
                           "llama.vocab_size", "llama.expert_count"}) {
    expect_bad_key(testing::string_key(name, "16"), fmt::format("m.gguf: key '{}': not a whole number", name));
  }
  for (const char* name : {"llama.rope.freq_base", "llama.attention.layer_norm_rms_epsilon"}) {
    expect_bad_key(testing::string_key(name, "1"), fmt::format("m.gguf: key '{}': expected a finite number", name));
    expect_bad_key(testing::f32_key(name, -1), "(got -1.0)");
  }
}

TEST_F(ConfigFaults, fault_016_counts) {
  for (const uint32_t n : {0u, 1u << 31, 1'000'000'000u})
    expect_bad_key(testing::u32_key("llama.block_count", n),
                   fmt::format("m.gguf: key 'llama.block_count': not a whole number in 1..1024 (got {})", n));
  for (const uint32_t n : {0u, UINT32_MAX}) {
    for (const char* name : {"llama.attention.head_count", "llama.attention.head_count_kv", "llama.embedding_length",
                             "llama.feed_forward_length"}) {
      expect_bad_key(testing::u32_key(name, n), fmt::format("m.gguf: key '{}': not a whole number in 1..", name));
      expect_bad_key(testing::u32_key(name, n), fmt::format("(got {})", n));
    }
  }
  expect_bad_key(testing::u32_key("llama.attention.head_count_kv", 3),
                 "m.gguf: key 'llama.attention.head_count_kv': not a divisor of the number of heads (got 3, heads 2)");
  expect_bad_gguf(
      [](GgufFile& file) {
        testing::remove_key(file, "llama.attention.key_length");
        testing::set_key(file, testing::u32_key("llama.embedding_length", 49));
      },
      "m.gguf: key 'llama.embedding_length': not divisible by the number of heads (got 49, heads 2)");
}

TEST_F(ConfigFaults, fault_016_head_sizes) {
  expect_bad_key(testing::u32_key("llama.attention.key_length", 15),
                 "m.gguf: key 'llama.attention.key_length': head size is not an even number up to 4096 (got 15)");
  expect_bad_key(testing::u32_key("llama.attention.key_length", 4098), "not a whole number in 2..4096 (got 4098)");
  for (const uint32_t hidden : {6u, 10'000u}) {  // two heads
    expect_bad_gguf(
        [&](GgufFile& file) {
          testing::remove_key(file, "llama.attention.key_length");
          testing::set_key(file, testing::u32_key("llama.embedding_length", hidden));
        },
        fmt::format("'llama.attention.head_count': head size is not an even number up to 4096 (got {})", hidden / 2));
  }
}

TEST_F(ConfigFaults, fault_017_lengths_and_experts) {
  expect_bad_key(testing::u32_key("llama.context_length", 0), "'llama.context_length': not a whole number in 1..");
  expect_bad_key(u64_key("llama.context_length", uint64_t{1} << 40), "(got 1099511627776)");
  expect_bad_key(u64_key("llama.context_length", UINT64_MAX), "(got 18446744073709551615)");
  expect_bad_key(testing::u32_key("llama.rope.dimension_count", 18),
                 "m.gguf: key 'llama.rope.dimension_count': not a whole number in 2..16 (got 18)");
  expect_bad_gguf(
      [](GgufFile& file) {
        testing::set_key(file, testing::u32_key("llama.expert_count", 4));
        testing::set_key(file, testing::u32_key("llama.expert_used_count", 5));
      },
      "m.gguf: key 'llama.expert_used_count': more than there are experts (got 5, experts 4)");
  expect_bad_key(testing::u32_key("llama.expert_used_count", 2), "(got 2, experts 0)");
}

TEST_F(ConfigFaults, fault_017_long_contexts_reserve_no_memory) {
  GgufFile file = gguf_;
  testing::set_key(file, testing::u32_key("llama.context_length", 1u << 31));
  const long before = testing::peak_kib(true);
  if (before < 0) GTEST_SKIP() << "no /proc/self/clear_refs";
  EXPECT_GT(loaded(file).max_model_len(), 128);
  EXPECT_LT(testing::peak_kib(false) - before, 128 << 10);
}

TEST_F(ConfigFaults, fault_046_code_of_the_folder_never_runs) {
  for (const char* key : {"auto_map", "trust_remote_code", "custom_pipeline"}) {
    TinyFolder folder = folder_;
    folder.config[key] = {{"AutoModelForCausalLM", "modeling_tiny.TinyForCausalLM"}};
    const std::string code = folder_dir_.file("modeling_tiny.py");
    if (!std::filesystem::exists(code)) {
      ASSERT_EQ(::mkfifo(code.c_str(), 0600), 0);  // opening it would hang
    }
    EXPECT_EQ(loaded(folder).warnings(),
              std::vector{fmt::format("config.json: {}: ignored, code of a checkpoint never runs", key)});
  }
}

/// The end of the message: what this build knows.
std::string known_architectures(bool gguf) {
  std::string names;
  const auto add = [&](std::string_view name) {
    if (!name.empty()) names += (names.empty() ? "" : ", ") + std::string(name);
  };
  for (const Arch* arch : architectures()) {
    if (gguf)
      add(arch->gguf.architecture);
    else
      for (const std::string_view name : arch->hf_architectures) add(name);
  }
  return fmt::format("supported: {})", names);
}

TEST_F(ConfigFaults, fault_047_architectures) {
  const std::string known = known_architectures(false);
  for (const auto& [value, shown] : std::vector<std::pair<Json, std::string>>{
           {{"NoSuchForCausalLM"}, "'NoSuchForCausalLM' is not supported"},
           {{"a\nb\x1b"}, "'a\\x0ab\\x1b' is not supported"},
           {{"llamaforcausallm"}, "'llamaforcausallm' is not supported"},
           {{""}, "'' is not supported"},
           {Json::array(), "(got an array of 0; "},
           {"LlamaForCausalLM", "(got \"LlamaForCausalLM\"; "},
           {7, "(got 7; "},
           {Json::array({7}), "(got an array of 1; "},
           {Json::array({Json::array({"LlamaForCausalLM"})}), "(got an array of 1; "},
           {{{"0", "LlamaForCausalLM"}}, "(got an object; "}}) {
    expect_bad_config("architectures", value, "config.json: architectures: ");
    expect_bad_config("architectures", value, shown);
    expect_bad_config("architectures", value, known);
  }
  TinyFolder folder = folder_;
  folder.config.erase("architectures");
  expect_failure(folder, "config.json: architectures: missing (" + known);
}

TEST_F(ConfigFaults, fault_047_gguf_architecture) {
  const std::string known = known_architectures(true);
  expect_bad_key(testing::string_key("general.architecture", "no\xffsuch"),
                 "general.architecture: 'no\\xffsuch' is not supported (" + known);
  expect_bad_key(testing::u32_key("general.architecture", 7), "expected a name (got 7; " + known);
  expect_bad_key(testing::strings_key("general.architecture", {"llama"}), "(got an array of 1; " + known);
  expect_bad_gguf([](GgufFile& file) { testing::remove_key(file, "general.architecture"); },
                  "m.gguf: general.architecture: missing (" + known);
}

/// A size of config.json and its largest value.
struct SizeKey {
  const char* key;
  int64_t max;
  bool required;
};
class ConfigSizes : public testing::TinyLlamaTest, public ::testing::WithParamInterface<SizeKey> {};

TEST_P(ConfigSizes, fault_048_sizes) {
  const auto [key, max, required] = GetParam();
  for (const Json& value :
       {Json(0), Json(-1), Json(INT64_MIN), Json(max + 1), Json(uint64_t{1} << 63), Json(UINT64_MAX), Json(1e30),
        Json(16.5), Json(16.0), Json("16"), Json(""), Json(true), Json::array({16}), Json::object()}) {
    expect_bad_config(key, value, fmt::format("config.json: key '{}': not a whole number in ", key));
    expect_bad_config(key, value, fmt::format("..{} (got {})", max, preview(value)));
  }
  if (!required) return;
  expect_bad_config(key, nullptr, fmt::format("config.json: missing key '{}'", key));
  TinyFolder folder = folder_;
  folder.config.erase(key);
  expect_failure(folder, fmt::format("config.json: missing key '{}'", key));
}

INSTANTIATE_TEST_SUITE_P(Keys, ConfigSizes,
                         ::testing::Values(SizeKey{"num_hidden_layers", 1024, true},
                                           SizeKey{"hidden_size", 1 << 20, true},
                                           SizeKey{"intermediate_size", 1 << 20, true},
                                           SizeKey{"num_attention_heads", 1 << 14, true},
                                           SizeKey{"num_key_value_heads", 1 << 14, false},
                                           SizeKey{"head_dim", 4096, false}, SizeKey{"vocab_size", 1 << 24, false},
                                           SizeKey{"max_position_embeddings", int64_t{1} << 31, true}),
                         [](const auto& test) { return std::string(test.param.key); });

TEST_F(ConfigFaults, fault_048_other_settings) {
  for (const Json& value : {Json(-1), Json("1e-5"), Json(2), Json(1e300), Json::array()})
    expect_bad_config("rms_norm_eps", value, "config.json: key 'rms_norm_eps': expected a finite number in 0..1 ");
  for (const Json& value : {Json(0), Json(-10000), Json("10000"), Json(1e300), Json(false)})
    expect_bad_config("rope_theta", value, "config.json: key 'rope_theta': expected a finite number in ");
  expect_bad_config("tie_word_embeddings", "yes",
                    "config.json: key 'tie_word_embeddings': expected true or false (got \"yes\")");
  expect_bad_config("hidden_act", "gelu\n", "config.json: key 'hidden_act': activation 'gelu\\x0a' is not supported");
  expect_bad_config("hidden_act", 5, "config.json: key 'hidden_act': expected a string (got 5)");
  expect_bad_config("rope_scaling", "linear", "key 'rope_scaling': expected an object (got \"linear\")");
  expect_bad_config("rope_scaling", {{"type", "nosuch"}}, "key 'rope_scaling.rope_type': unknown scaling 'nosuch'");
  expect_bad_config("rope_scaling", {{"type", 3}}, "key 'rope_scaling.type': expected a string (got 3)");
  expect_bad_config("rope_scaling", {{"type", "linear"}}, "missing key 'rope_scaling.factor'");
  for (const Json& factor : {Json(0), Json(-2), Json("2"), Json(1e300)})
    expect_bad_config("rope_scaling", {{"type", "linear"}, {"factor", factor}},
                      "key 'rope_scaling.factor': expected a ");
}

TEST_F(ConfigFaults, fault_049_config_disagrees_with_tensors) {
  const auto shape = [](const char* tensor, const char* got, const char* expected) {
    return fmt::format("model.safetensors: tensor '{}.weight': shape does not fit the model (got {}, expected {})",
                       tensor, got, expected);
  };
  expect_bad_config("vocab_size", 41, shape("model.embed_tokens", "[40, 48]", "[41, 48]"));
  expect_bad_config("vocab_size", 39, shape("model.embed_tokens", "[40, 48]", "[39, 48]"));
  expect_bad_config("hidden_size", 64, shape("model.embed_tokens", "[40, 48]", "[40, 64]"));
  expect_bad_config("intermediate_size", 80, shape("model.layers.0.mlp.gate_proj", "[64, 48]", "[80, 48]"));
  expect_bad_config("num_attention_heads", 4, shape("model.layers.0.self_attn.q_proj", "[32, 48]", "[64, 48]"));
  expect_bad_config("num_key_value_heads", 2, shape("model.layers.0.self_attn.k_proj", "[16, 48]", "[32, 48]"));
  expect_bad_config("head_dim", 32, shape("model.layers.0.self_attn.q_proj", "[32, 48]", "[64, 48]"));
  expect_bad_config("num_hidden_layers", 3, "missing tensor 'model.layers.2.input_layernorm.weight' (expected [48])");
  expect_bad_config("num_hidden_layers", 1,
                    "config.json: key 'num_hidden_layers': the checkpoint has more layers than that (got 1, found "
                    "model.safetensors: tensor 'model.layers.1.input_layernorm.weight')");
  expect_bad_key(
      testing::u32_key("llama.block_count", 1),
      "m.gguf: key 'llama.block_count': the checkpoint has more layers than that (got 1, found m.gguf: tensor "
      "'blk.1.attn_norm.weight')");
  expect_bad_key(testing::u32_key("llama.block_count", 3), "missing tensor 'blk.2.attn_norm.weight' (expected [48])");
  expect_bad_key(testing::u32_key("llama.vocab_size", 41),
                 "'token_embd.weight': shape does not fit the model (got [40");
}

// Numbers that fit 64 bits and not 32 are told as they are.
TEST_F(ConfigFaults, fault_020_sizes_beyond_32_bits) {
  const int64_t large = (int64_t{1} << 31) + 1;
  expect_bad_key(u64_key("llama.embedding_length", large),
                 "'llama.embedding_length': not a whole number in 1..1048576 (got 2147483649)");
  expect_bad_config("vocab_size", large, "key 'vocab_size': not a whole number in 1..16777216 (got 2147483649)");
}

}  // namespace
}  // namespace packhorse
