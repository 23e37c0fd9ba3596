// The stream of an incremental detokenizer: whole characters only, and the same text as decoding all at once.
#include "text/detokenizer.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "testing.h"

namespace packhorse {
namespace {

using Ids = std::vector<int32_t>;

std::filesystem::path small_dir() { return testing::golden_dir() / "tokenizer"; }

Tokenizer load(const std::string& name) {
  const auto text = testing::read_text(small_dir() / name / "tokenizer.json");
  return Tokenizer::from_tokenizer_json(parse_json(text, name), nullptr, name);
}

bool is_valid(std::string_view text) {
  while (!text.empty()) {
    const Utf8Char c = decode_utf8(text);
    if (!c.valid) return false;
    text.remove_prefix(c.n_bytes);
  }
  return true;
}

/// All pieces together; fails when one of them is no valid UTF-8.
std::string stream(const Tokenizer& tokenizer, const Ids& ids, bool skip_special) {
  IncrementalDetokenizer detokenizer(tokenizer, skip_special);
  std::string all;
  for (const int32_t id : ids) {
    const std::string piece = detokenizer.feed(id);
    EXPECT_TRUE(is_valid(piece));
    all += piece;
  }
  return all + detokenizer.flush();
}

TEST(DetokenizerTest, StreamIsWhatDecodeMakesOfGoldens) {
  for (const char* name : {"smollm2_cut", "qwen2_cut", "llama2"}) {
    const auto tokenizer = load(name);
    const Json golden = parse_json(testing::read_text(small_dir() / (std::string(name) + ".json")), name);
    for (const Json& c : golden["cases"]) {
      const auto ids = c["ids"].get<Ids>();
      EXPECT_EQ(stream(tokenizer, ids, true), c["decoded_skip_special"].get<std::string>());
      EXPECT_EQ(stream(tokenizer, c["ids_without_special"].get<Ids>(), false), c["decoded"].get<std::string>());
    }
  }
}

TEST(DetokenizerTest, StreamIsWhatDecodeMakesOfRandomIds) {
  std::mt19937 random(7);
  for (const char* name : {"smollm2_cut", "llama2"}) {
    const auto tokenizer = load(name);
    for (int round = 0; round < 2000; ++round) {
      Ids ids(random() % 12);
      const bool bytes_only = round % 2 == 0;  // mostly broken characters
      for (int32_t& id : ids) id = static_cast<int32_t>(random() % (bytes_only ? 300 : 1300)) - 2;
      for (const bool skip : {false, true}) {
        const std::string whole = tokenizer.decode(ids, skip);
        EXPECT_TRUE(is_valid(whole));
        ASSERT_EQ(stream(tokenizer, ids, skip), whole);
      }
    }
  }
}

TEST(DetokenizerTest, HalfCharactersWait) {
  const auto tokenizer = load("llama2");
  const Ids ids = tokenizer.encode("\U0001f600", false);  // a space mark and four byte tokens
  ASSERT_EQ(ids.size(), 5u);
  IncrementalDetokenizer detokenizer(tokenizer, true);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(detokenizer.feed(ids[i]), "");
  EXPECT_EQ(detokenizer.feed(ids[4]), "\U0001f600");
  EXPECT_EQ(detokenizer.flush(), "");
}

TEST(DetokenizerTest, UnfinishedCharactersBecomeReplacements) {
  const auto llama = load("llama2");
  IncrementalDetokenizer detokenizer(llama, true);
  EXPECT_EQ(detokenizer.feed(*llama.find("<0xF0>")), "");
  EXPECT_EQ(detokenizer.feed(*llama.find("<0x9F>")), "");
  EXPECT_EQ(detokenizer.feed(*llama.find("a")), "\ufffd\ufffda");  // one for each byte, as sentencepiece has it
  const auto smollm = load("smollm2_cut");
  const Ids half = {*smollm.find("\u00f0"), *smollm.find("\u0141")};  // the bytes F0 9F in the byte alphabet
  EXPECT_EQ(smollm.decode(half, true), "\ufffd");                     // one for what could have begun a character
}

TEST(DetokenizerTest, TextGoesOnAfterThePrompt) {
  const auto tokenizer = load("llama2");
  const Ids the = tokenizer.encode("the", false);
  EXPECT_EQ(IncrementalDetokenizer(tokenizer, true).feed(the[0]), "the");
  const Ids bos = tokenizer.encode("");
  EXPECT_EQ(IncrementalDetokenizer(tokenizer, true, bos).feed(the[0]), "the");  // nothing printed yet
  const Ids prompt = tokenizer.encode("of");
  EXPECT_EQ(IncrementalDetokenizer(tokenizer, true, prompt).feed(the[0]), " the");
  const Ids half = {tokenizer.encode("of")[0], *tokenizer.find("<0xC3>")};
  EXPECT_EQ(IncrementalDetokenizer(tokenizer, true, half).feed(*tokenizer.find("<0xA9>")), "\u00e9");
}

/// What vLLM's fast detokenizer prints over the tokenizers library.
TEST(DetokenizerTest, SpacesBetweenAddedTokens) {
  const auto added = [](int32_t id, const char* text, bool special) {
    return Json{{"id", id}, {"content", text}, {"special", special}, {"normalized", false}};
  };
  const Json file = {{"model", {{"type", "BPE"}, {"vocab", {{"x", 0}}}, {"merges", Json::array()}}},
                     {"added_tokens", {added(1, "<a>", true), added(2, "<b>", false)}},
                     {"decoder", nullptr}};
  const auto tokenizer = Tokenizer::from_tokenizer_json(parse_json(file.dump(), "spaces"), nullptr, "spaces");
  const auto print = [&](const Ids& ids, bool skip_special, bool spaces, const Ids& prompt = {}) {
    IncrementalDetokenizer detokenizer(tokenizer, skip_special, prompt, spaces);
    std::string all;
    for (const int32_t id : ids) detokenizer.feed(id, all);
    return all;
  };
  const Ids ids = {0, 1, 2, 1, 0, 0, 2};
  EXPECT_EQ(print(ids, false, true), "x <a> <b> <a> x x <b>");
  EXPECT_EQ(print(ids, false, false), "x <a><b><a> x x <b>");
  EXPECT_EQ(print(ids, true, false), "x <b> x x <b>");
  EXPECT_EQ(print({2, 1, 2}, true, false), "<b> <b>");        // nothing is joined where special tokens are skipped
  EXPECT_EQ(print({2, 1}, false, false, {0, 1}), " <b><a>");  // the prompt's last token does not count
}

}  // namespace
}  // namespace packhorse
