#include <gtest/gtest.h>

#include "models/tiny_decoder.h"

namespace packhorse {
namespace {

using testing::worst_difference;
constexpr auto prompt = testing::random_prompt;

Json config_of(const char* architecture, int64_t layers, const Json& window) {
  Json config = testing::decoder_config(architecture, layers);
  config["sliding_window"] = window;
  return config;
}

std::vector<float> last_logits(const Json& config, std::span<const int32_t> tokens, int64_t chunk) {
  const testing::TempDir dir;
  const int64_t layers = config.at("num_hidden_layers");
  const CheckpointView view = testing::write_decoder(dir, config, testing::decoder_tensors(layers));
  return testing::Decoder(view).last_logits(tokens, chunk);
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
