// Ids and texts against the goldens of the tokenizers library and of sentencepiece.
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "packhorse/packhorse.h"
#include "testing.h"

namespace packhorse {
namespace {

using Ids = std::vector<int32_t>;
namespace fs = std::filesystem;

Json read_json(const fs::path& path) { return parse_json(testing::read_text(path), path.filename().string()); }
fs::path small_dir() { return testing::golden_dir() / "tokenizer"; }
fs::path full_dir() { return testing::shared_dir() / "goldens" / "tokenizer"; }

Tokenizer load_json(const fs::path& dir, const std::string& name) {
  return Tokenizer::from_tokenizer_json(read_json(dir / name / "tokenizer.json"), nullptr, name + "/tokenizer.json");
}

void expect_exact(const Tokenizer& tokenizer, const Json& golden) {
  for (const Json& c : golden["cases"]) {
    const auto text = c["text"].get<std::string>();
    const auto ids = c["ids"].get<Ids>();
    ASSERT_EQ(tokenizer.encode(text, true), ids) << text;
    ASSERT_EQ(tokenizer.encode(text, false), c["ids_without_special"].get<Ids>()) << text;
    ASSERT_EQ(tokenizer.decode(c["ids_without_special"].get<Ids>(), false), c["decoded"].get<std::string>()) << text;
    ASSERT_EQ(tokenizer.decode(ids, true), c["decoded_skip_special"].get<std::string>()) << text;
  }
}

/// What sentencepiece itself makes of a text: it never reads a control token out of it.
void expect_exact_sentencepiece(const Tokenizer& tokenizer, const Json& golden) {
  for (const Json& c : golden["cases"]) {
    const auto text = c["text"].get<std::string>();
    const auto ids = c["sentencepiece_ids"].get<Ids>();
    ASSERT_EQ(tokenizer.encode(text, false, false), ids) << text;
    ASSERT_EQ(tokenizer.decode(ids, false), c["sentencepiece_decoded"].get<std::string>()) << text;
  }
}

/// A GGUF vocabulary made of what other files hold, with the storage that its views need.
struct OwnedGgufVocab {
  std::vector<std::string> texts;  // of tokens, then of merges
  GgufVocab vocab;
};

OwnedGgufVocab gguf_from_json(const Json& tokenizer, std::string_view pre) {
  OwnedGgufVocab owned;
  const Json& model = tokenizer["model"];
  const size_t n_tokens = model["vocab"].size();
  owned.texts.resize(n_tokens);
  for (const auto& [text, id] : model["vocab"].items()) owned.texts[id.get<size_t>()] = text;
  for (const Json& merge : model["merges"]) {
    owned.texts.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  owned.vocab.model = "gpt2";
  owned.vocab.pre = pre;
  owned.vocab.tokens.assign(owned.texts.begin(), owned.texts.begin() + static_cast<ptrdiff_t>(n_tokens));
  owned.vocab.merges.assign(owned.texts.begin() + static_cast<ptrdiff_t>(n_tokens), owned.texts.end());
  owned.vocab.token_types.assign(n_tokens, static_cast<int32_t>(TokenType::normal));
  for (const Json& token : tokenizer["added_tokens"]) {
    owned.vocab.token_types[token["id"].get<size_t>()] = static_cast<int32_t>(TokenType::control);
  }
  return owned;
}

/// Scores are minus the place among the merges, as SentencePiece's trainer numbers them.
OwnedGgufVocab gguf_from_sentencepiece_json(const Json& tokenizer) {
  OwnedGgufVocab owned;
  const Json& vocab = tokenizer["model"]["vocab"];
  owned.texts.resize(vocab.size());
  for (const auto& [text, id] : vocab.items()) owned.texts[id.get<size_t>()] = text;
  owned.vocab.model = "llama";
  owned.vocab.tokens.assign(owned.texts.begin(), owned.texts.end());
  for (size_t id = 0; id < owned.texts.size(); ++id) {
    const bool byte = owned.texts[id].starts_with("<0x");
    const TokenType type = id == 0  ? TokenType::unknown
                           : id < 3 ? TokenType::control
                           : byte   ? TokenType::byte
                                    : TokenType::normal;
    owned.vocab.token_types.push_back(static_cast<int32_t>(type));
    owned.vocab.scores.push_back(id < 259 ? 0.f : -static_cast<float>(id - 259));
  }
  return owned;
}

TEST(TokenizerTest, ByteLevelIsExact) {
  expect_exact(load_json(small_dir(), "smollm2_cut"), read_json(small_dir() / "smollm2_cut.json"));
}

TEST(TokenizerTest, Qwen2SplitAndNormalFormAreExact) {
  expect_exact(load_json(small_dir(), "qwen2_cut"), read_json(small_dir() / "qwen2_cut.json"));
}

TEST(TokenizerTest, SentencePieceAsJsonIsExact) {
  expect_exact(load_json(small_dir(), "llama2"), read_json(small_dir() / "llama2.json"));
}

TEST(TokenizerTest, SentencePieceModelIsExact) {
  const auto tokenizer = Tokenizer::from_sentencepiece_model(
      testing::read_text(small_dir() / "llama2" / "tokenizer.model"), nullptr, "tokenizer.model");
  const Json golden = read_json(small_dir() / "llama2.json");
  expect_exact(tokenizer, golden);
  expect_exact_sentencepiece(tokenizer, golden);
}

TEST(TokenizerTest, GgufByteLevelIsExact) {
  const auto owned = gguf_from_json(read_json(small_dir() / "smollm2_cut" / "tokenizer.json"), "gpt-2");
  expect_exact(Tokenizer::from_gguf(owned.vocab, "model.gguf"), read_json(small_dir() / "smollm2_cut.json"));
}

TEST(TokenizerTest, GgufQwen2IsExact) {
  const auto owned = gguf_from_json(read_json(small_dir() / "qwen2_cut" / "tokenizer.json"), "qwen2");
  expect_exact(Tokenizer::from_gguf(owned.vocab, "model.gguf"), read_json(small_dir() / "qwen2_cut.json"));
}

TEST(TokenizerTest, GgufSentencePieceIsExact) {
  const auto owned = gguf_from_sentencepiece_json(read_json(small_dir() / "llama2" / "tokenizer.json"));
  const auto tokenizer = Tokenizer::from_gguf(owned.vocab, "model.gguf");
  const Json golden = read_json(small_dir() / "llama2.json");
  expect_exact(tokenizer, golden);
  expect_exact_sentencepiece(tokenizer, golden);
}

TEST(TokenizerTest, SharedGoldensAreExact) {
  if (!fs::exists(full_dir())) GTEST_SKIP() << "no shared goldens";
  expect_exact(load_json(full_dir(), "smollm2"), read_json(full_dir() / "smollm2.json"));
  expect_exact(load_json(full_dir(), "llama2"), read_json(full_dir() / "llama2.json"));
  const auto model = Tokenizer::from_sentencepiece_model(testing::read_text(full_dir() / "llama2" / "tokenizer.model"),
                                                         nullptr, "tokenizer.model");
  expect_exact(model, read_json(full_dir() / "llama2.json"));
  expect_exact_sentencepiece(model, read_json(full_dir() / "llama2.json"));
  const auto smollm2 = gguf_from_json(read_json(full_dir() / "smollm2" / "tokenizer.json"), "gpt-2");
  expect_exact(Tokenizer::from_gguf(smollm2.vocab, "model.gguf"), read_json(full_dir() / "smollm2.json"));
  const auto llama2 = gguf_from_sentencepiece_json(read_json(full_dir() / "llama2" / "tokenizer.json"));
  expect_exact(Tokenizer::from_gguf(llama2.vocab, "model.gguf"), read_json(full_dir() / "llama2.json"));
}

TEST(TokenizerTest, UnsupportedSharedTokenizersSaySo) {
  if (!fs::exists(full_dir())) GTEST_SKIP() << "no shared goldens";
  for (const auto& [name, type] : {std::pair{"unigram", "Unigram"}, std::pair{"wordpiece", "WordPiece"}}) {
    try {
      load_json(full_dir(), name);
      FAIL() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::model);
      EXPECT_EQ(error.what(),
                std::string(name) + "/tokenizer.json: model: type '" + type + "' is not supported (only BPE is)");
    }
  }
}

TEST(TokenizerTest, AllSmallCheckpointsLoad) {
  if (!fs::exists(testing::checkpoints_dir())) GTEST_SKIP() << "no checkpoints";
  size_t n = 0;
  for (const auto& entry : fs::recursive_directory_iterator(testing::checkpoints_dir())) {
    if (entry.path().filename() != "tokenizer.json") continue;
    const Json config = read_json(entry.path().parent_path() / "tokenizer_config.json");
    const auto tokenizer = Tokenizer::from_tokenizer_json(read_json(entry.path()), config, entry.path().string());
    EXPECT_EQ(tokenizer.eos_ids(), Ids{*tokenizer.eos_id()});
    EXPECT_EQ(tokenizer.decode(tokenizer.encode("The capital of Japan"), true), "The capital of Japan");
    ++n;
  }
  EXPECT_GT(n, 0u);
}

/// A byte-level vocabulary of the 256 bytes and two joined tokens, with added tokens as given.
Json tiny_tokenizer(const Json& added_tokens) {
  Json vocab = Json::object();
  const auto cut = read_json(small_dir() / "smollm2_cut" / "tokenizer.json");
  for (const auto& [text, id] : cut["model"]["vocab"].items()) {
    const bool one_character = text.size() == 1 || (text.size() == 2 && static_cast<unsigned char>(text[0]) >= 0xc0);
    if (one_character) vocab[text] = vocab.size();
  }
  const size_t n = vocab.size();
  vocab["th"] = n;
  vocab["the"] = n + 1;
  Json merges = Json::array({Json::array({"t", "h"}), "th e"});
  return {{"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}},
          {"added_tokens", added_tokens},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"decoder", {{"type", "ByteLevel"}}}};
}

std::vector<std::string> pieces(const Tokenizer& tokenizer, std::string_view text, bool parse_special = true) {
  std::vector<std::string> out;
  for (const int32_t id : tokenizer.encode(text, true, parse_special)) out.emplace_back(tokenizer.token_text(id));
  return out;
}

Json added_token(unsigned id, const char* content, const char* flag = "special", bool special = true) {
  return {{"id", id}, {"content", content}, {"special", special}, {flag, true}};
}

TEST(TokenizerTest, MergesOfBothSpellingsWork) {
  const auto tokenizer = Tokenizer::from_tokenizer_json(tiny_tokenizer(Json::array()), nullptr, "t");
  EXPECT_EQ(pieces(tokenizer, "then"), (std::vector<std::string>{"the", "n"}));
}

TEST(TokenizerTest, AddedTokensTakeSpacesAndWords) {
  using Pieces = std::vector<std::string>;
  const Json added = Json::array({added_token(1000, "<l>", "lstrip"), added_token(1001, "<r>", "rstrip"),
                                  added_token(1002, "word", "single_word"), added_token(1003, "<s>"),
                                  added_token(1004, "<s>x"), added_token(1005, "user", "normalized", false)});
  const auto tokenizer = Tokenizer::from_tokenizer_json(tiny_tokenizer(added), nullptr, "t");
  EXPECT_EQ(pieces(tokenizer, "a \t<l>b"), (Pieces{"a", "<l>", "b"}));
  EXPECT_EQ(pieces(tokenizer, "a<r> \nb"), (Pieces{"a", "<r>", "b"}));
  EXPECT_EQ(pieces(tokenizer, "word"), Pieces{"word"});
  EXPECT_EQ(pieces(tokenizer, "swords").size(), 6u);
  EXPECT_EQ(pieces(tokenizer, "a<s>xy"), (Pieces{"a", "<s>x", "y"}));
  EXPECT_EQ(pieces(tokenizer, "<s>user", false), (Pieces{"<", "s", ">", "user"}));
  EXPECT_TRUE(tokenizer.is_special(1003));
  EXPECT_FALSE(tokenizer.is_special(1005));
  EXPECT_EQ(tokenizer.vocab_size(), 1006);
  EXPECT_NO_THROW(tokenizer.require_ids_below(1006));
  EXPECT_EQ(tokenizer.find("<s>x"), 1004);
  EXPECT_EQ(tokenizer.find("nowhere"), std::nullopt);
}

TEST(TokenizerTest, IgnoreMergesTakesWholeWords) {
  Json json = tiny_tokenizer(Json::array());
  json["model"]["vocab"]["\u0120no"] = 900u;  // no merge leads there
  EXPECT_EQ(pieces(Tokenizer::from_tokenizer_json(json, nullptr, "t"), " no").size(), 3u);
  json["model"]["ignore_merges"] = true;
  EXPECT_EQ(pieces(Tokenizer::from_tokenizer_json(json, nullptr, "t"), " no"), std::vector<std::string>{"\u0120no"});
}

TEST(TokenizerTest, TemplateAndConfigSetSpecialTokens) {
  Json json = tiny_tokenizer(Json::array({added_token(1000, "<s>")}));
  json["post_processor"] = Json::parse(R"({"type": "Sequence", "processors": [{"type": "ByteLevel"},
      {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
       "special_tokens": {"<s>": {"ids": [1000]}}}]})");
  const Json config = {{"bos_token", {{"content", "<s>"}}}, {"eos_token", "the"}, {"pad_token", nullptr}};
  const auto tokenizer = Tokenizer::from_tokenizer_json(json, config, "t");
  EXPECT_EQ(pieces(tokenizer, "the"), (std::vector<std::string>{"<s>", "the"}));
  EXPECT_EQ(tokenizer.bos_id(), 1000);
  EXPECT_TRUE(tokenizer.adds_bos());
  EXPECT_EQ(tokenizer.eos_ids(), Ids{*tokenizer.find("the")});
  EXPECT_TRUE(tokenizer.is_special(*tokenizer.find("the")));
  EXPECT_EQ(tokenizer.pad_id(), std::nullopt);
}

TEST(TokenizerTest, GgufEndsOfTurnAreEos) {
  auto owned = gguf_from_json(read_json(small_dir() / "smollm2_cut" / "tokenizer.json"), "smollm");
  owned.vocab.eos_id = 0;
  EXPECT_EQ(Tokenizer::from_gguf(owned.vocab, "m").eos_ids(), (Ids{0, 2}));  // <|im_end|> by its text
  owned.vocab.eot_id = 1;
  owned.vocab.bos_id = 1;
  owned.vocab.add_bos = true;
  const auto tokenizer = Tokenizer::from_gguf(owned.vocab, "m");
  EXPECT_EQ(tokenizer.eos_ids(), (Ids{0, 1}));
  EXPECT_EQ(tokenizer.encode(""), Ids{1});
}

TEST(TokenizerTest, SentencePiecePieceAloneLosesItsSpace) {
  const auto tokenizer = load_json(small_dir(), "llama2");
  const auto ids = tokenizer.encode("the", false);
  ASSERT_EQ(ids.size(), 1u);
  EXPECT_EQ(tokenizer.token_text(ids[0]), "\u2581the");
  EXPECT_EQ(tokenizer.token_piece(ids[0]), "the");
  EXPECT_EQ(tokenizer.token_piece(999999), "");
}

}  // namespace
}  // namespace packhorse
