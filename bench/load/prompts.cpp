#include "load/prompts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <random>
#include <string_view>

namespace packhorse::load {
namespace {

constexpr std::array<std::string_view, 64> kWords = {
    "time",   "year",   "people", "way",   "day",  "man",    "thing",  "woman",  "life",  "child",  "world",
    "school", "state",  "family", "hand",  "part", "place",  "case",   "week",   "work",  "system", "number",
    "night",  "point",  "home",   "water", "room", "mother", "area",   "money",  "story", "fact",   "month",
    "lot",    "right",  "study",  "book",  "eye",  "job",    "word",   "side",   "kind",  "head",   "house",
    "friend", "father", "power",  "hour",  "game", "line",   "end",    "member", "law",   "car",    "city",
    "name",   "team",   "minute", "idea",  "body", "back",   "parent", "face",   "level"};

void add_words(std::string& text, int64_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (int64_t i = 0; i < n; ++i) {
    if (!text.empty()) text += ' ';
    text += kWords[random() % kWords.size()];
  }
}

/// Numbered jobs of one seed, probes and runs of other seeds share no words but the prefix.
uint64_t seed_of(const Options& options, const Job& job) {
  return (static_cast<uint64_t>(options.seed) << 32) + (static_cast<uint64_t>(job.number) << 1) + job.is_probe;
}

}  // namespace

std::string request_text(const Options& options, const Job& job) {
  constexpr uint64_t kPrefixSeed = ~uint64_t{0};
  const int64_t n_shared = job.is_probe ? 0 : std::min(options.shared_prefix, job.prompt_tokens);
  std::string prompt;
  add_words(prompt, n_shared, kPrefixSeed);
  add_words(prompt, job.prompt_tokens - n_shared, seed_of(options, job));
  nlohmann::ordered_json body = {{"model", options.model}, {"max_tokens", job.max_tokens},
                                 {"temperature", 0},       {"ignore_eos", true},
                                 {"stream", true},         {"stream_options", {{"include_usage", true}}}};
  if (options.is_chat()) {
    body["messages"] = nlohmann::ordered_json::array({{{"role", "user"}, {"content", prompt}}});
  } else {
    body["prompt"] = prompt;
  }
  const std::string text = body.dump();
  const std::string key = options.api_key.empty() ? "" : fmt::format("Authorization: Bearer {}\r\n", options.api_key);
  return fmt::format(
      "POST {} HTTP/1.1\r\nHost: {}:{}\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
      options.path, options.host, options.port, key, text.size(), text);
}

}  // namespace packhorse::load
