#include "text/gguf_pre.h"

#include <algorithm>

#include "text/split_patterns.h"

namespace packhorse {
namespace {

using split_patterns::kGpt2;
using split_patterns::kLlama3;
using split_patterns::kQwen2;

constexpr std::string_view kDigit = R"(\p{N})";
constexpr std::string_view kDigits = R"(\p{N}+)";
constexpr std::string_view kUpTo3Digits = R"(\p{N}{1,3})";
constexpr std::string_view k3AsciiDigits = "[0-9][0-9][0-9]";
constexpr std::string_view kNewline = R"([\r\n])";
constexpr std::string_view kWordsOfScripts = R"( ?[^(\s|.,!?…。，、।۔،)]+)";
constexpr std::string_view kMarksWithLetters =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kChineseJapanese = "[一-龥぀-ゟ゠-ヿ]+";
constexpr std::string_view kDeepseekWords =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kBailing =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kSeedCoder =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kFalconPunctuation = R"([\p{P}\$\+<=>\^~\|`]+)";
constexpr std::string_view kDefaultPunctuation = R"([\p{P}\$\+<=>\^~\|]+)";

const std::vector<GgufPre>& table() {
  static const std::vector<GgufPre> rows{
      {.names = {"gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4", "gigachat",
                 "a.x-4.0", "mellum"},
       .expressions = {kGpt2}},
      {.names = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"},
       .expressions = {kDigit, kGpt2}},
      {.names = {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
       .expressions = {kLlama3},
       .ignore_merges = true,
       .add_bos = true},
      {.names = {"dbrx", "smaug-bpe", "chatglm-bpe"}, .expressions = {kLlama3}},
      {.names = {"glm4", "glm5"}, .expressions = {kLlama3}, .ignore_merges = true},
      {.names = {"qwen2", "deepseek-r1-qwen", "megrez", "kormo"}, .expressions = {kQwen2}, .nfc = true},
      {.names = {"stablelm2", "hunyuan", "solar-open", "grok-2"}, .expressions = {kQwen2}},
      {.names = {"qwen35"}, .expressions = {kMarksWithLetters}, .nfc = true},
      {.names = {"gpt-4o", "llama4", "kanana2", "minimax-m2"}, .expressions = {kGpt4o}},
      {.names = {"tekken"}, .expressions = {kTekken}, .ignore_merges = true, .add_bos = true},
      {.names = {"deepseek-v3", "hunyuan-dense", "joyai-llm"},
       .expressions = {kUpTo3Digits, kChineseJapanese, kDeepseekWords}},
      {.names = {"deepseek-coder"},
       .expressions = {kNewline, R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-퟿]+", kDigit}},
      {.names = {"falcon"}, .expressions = {kFalconPunctuation, kGpt2, k3AsciiDigits}},
      {.names = {"bloom", "poro-chat", "gpt3-finnish"}, .expressions = {kWordsOfScripts}},
      {.names = {"viking"}, .expressions = {kWordsOfScripts, kDigit}},
      {.names = {"bailingmoe", "bailingmoe2", "llada-moe"}, .expressions = {kBailing}},
      {.names = {"seed-coder"}, .expressions = {kSeedCoder}},
      {.names = {"superbpe"}, .expressions = {kDigits, R"((?=(\d{3})+(?!\d)))"}},
      // Files from before the key existed; what llama.cpp reads them with.
      {.names = {"default"}, .expressions = {kDefaultPunctuation, kGpt2, kDigits, k3AsciiDigits}},
  };
  return rows;
}

}  // namespace

const GgufPre* find_gguf_pre(std::string_view name) {
  for (const GgufPre& row : table()) {
    if (std::find(row.names.begin(), row.names.end(), name) != row.names.end()) return &row;
  }
  return nullptr;
}

}  // namespace packhorse
