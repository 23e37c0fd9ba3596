// Hostile tokenizer files and hostile texts; each first checks the good twin.
#include <gtest/gtest.h>

#include <ctime>
#include <limits>
#include <string>
#include <vector>

#include "packhorse/packhorse.h"
#include "testing.h"
#include "text/tokenizer.h"

namespace packhorse {
namespace {

using Ids = std::vector<int32_t>;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double kTimeScale = 15;
#else
constexpr double kTimeScale = 1;
#endif

/// Seconds of processor time, which other programs on the machine do not lengthen.
template <class F>
double seconds(F&& f) {
  const std::clock_t begin = std::clock();
  f();
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

std::string golden_text(const char* name) { return testing::read_text(testing::golden_dir() / "tokenizer" / name); }
Json smollm2() { return parse_json(golden_text("smollm2_cut/tokenizer.json"), "tokenizer.json"); }
Json llama2() { return parse_json(golden_text("llama2/tokenizer.json"), "tokenizer.json"); }
Tokenizer load(const Json& json) { return Tokenizer::from_tokenizer_json(json, nullptr, "tokenizer.json"); }

template <class F>
void expect_error(F&& f, ErrorKind kind, const std::string& part) {
  try {
    f();
    ADD_FAILURE() << "no error; expected: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
  }
}
/// `change` spoils a good tokenizer.json.
template <class F>
void expect_bad_json(F&& change, const std::string& part) {
  Json json = smollm2();
  ASSERT_NO_THROW(load(json));
  change(json);
  expect_error([&] { load(json); }, ErrorKind::model, part);
}

/// A small SentencePiece-like vocabulary with all bytes.
struct LlamaGguf {
  std::vector<std::string> texts{"<unk>", "<s>", "</s>"};
  GgufVocab vocab;
  LlamaGguf() {
    for (int byte = 0; byte < 256; ++byte) {
      char text[8];
      std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte));
      texts.emplace_back(text);
    }
    for (const char* text : {"\u2581", "a", "aa"}) texts.emplace_back(text);
    vocab.model = "llama";
    vocab.scores.assign(texts.size(), 0.f);
    vocab.token_types.assign(texts.size(), 6);
    for (size_t id = 0; id < 3; ++id) vocab.token_types[id] = id == 0 ? 2 : 3;
    for (size_t id = 259; id < texts.size(); ++id) vocab.token_types[id] = 1;
  }
  Tokenizer load() {
    vocab.tokens.assign(texts.begin(), texts.end());
    return Tokenizer::from_gguf(vocab, "model.gguf");
  }
};
template <class F>
void expect_bad_gguf(F&& change, const std::string& part) {
  LlamaGguf gguf;
  ASSERT_EQ(gguf.load().encode("aa"), (Ids{1, 259, 261}));
  change(gguf);
  expect_error([&] { gguf.load(); }, ErrorKind::model, part);
}

TEST(TokenizerFaultTest, fault_056_tokenizer_json_unknown_type) {
  expect_bad_json([](Json& j) { j["model"]["type"] = "Unigram"; },
                  "tokenizer.json: model: type 'Unigram' is not supported");
  expect_bad_json([](Json& j) { j["model"].erase("type"), j["model"].erase("merges"); }, "model: type ''");
  expect_bad_json([](Json& j) { j.erase("model"); }, "tokenizer.json: missing 'model'");
  expect_bad_json([](Json& j) { j = Json::array(); }, "tokenizer.json: not an object");
  expect_bad_json([](Json& j) { j["pre_tokenizer"] = {{"type", "Esc\n"}}; }, "'Esc\\x0a' is not supported");
  expect_bad_json([](Json& j) { j["normalizer"] = {{"type", "Nmt"}}; }, "normalizer type 'Nmt' is not supported");
  expect_bad_json([](Json& j) { j["decoder"] = {{"type", "CTC"}}; }, "decoder type 'CTC' is not supported");
  expect_bad_json([](Json& j) { j["post_processor"] = {{"type", "X"}}; }, "post-processor type 'X'");
  const std::string text = golden_text("smollm2_cut/tokenizer.json");
  expect_error([&] { load(parse_json(text.substr(0, text.size() / 2), "tokenizer.json")); }, ErrorKind::model,
               "tokenizer.json: byte ");
  LlamaGguf gguf;
  gguf.vocab.model = "rwkv";
  expect_error([&] { gguf.load(); }, ErrorKind::model,
               "model.gguf: tokenizer.ggml.model: type 'rwkv' is not supported");
}

TEST(TokenizerFaultTest, fault_056_gguf_unknown_pre) {
  std::vector<std::string> texts{"a"};
  GgufVocab vocab;
  vocab.model = "gpt2";
  vocab.tokens.assign(texts.begin(), texts.end());
  EXPECT_EQ(Tokenizer::from_gguf(vocab, "m.gguf").warnings().size(), 1u);  // splitting as old files do
  vocab.pre = "gpt-2";
  EXPECT_EQ(Tokenizer::from_gguf(vocab, "m.gguf").warnings().size(), 0u);
  vocab.pre = "new-model";
  expect_error([&] { Tokenizer::from_gguf(vocab, "m.gguf"); }, ErrorKind::model, "'new-model' is not supported");
}

TEST(TokenizerFaultTest, fault_057_ids) {
  expect_bad_json([](Json& j) { j["model"]["vocab"]["x1"] = uint64_t{1} << 31; }, "id 2147483648 is out of range");
  expect_bad_json([](Json& j) { j["model"]["vocab"]["x1"] = uint64_t{1} << 40; }, "out of range");
  expect_bad_json([](Json& j) { j["model"]["vocab"]["x1"] = -1; }, "model.vocab.x1: not an unsigned integer (got -1)");
  expect_bad_json([](Json& j) { j["model"]["vocab"]["x1"] = 1.5; }, "not an unsigned integer");
  expect_bad_json([](Json& j) { j["model"]["vocab"]["x1"] = 5u; }, "both have id 5");
  expect_bad_json([](Json& j) { j["added_tokens"][0]["id"] = 7u; }, "added_tokens");
  expect_bad_json([](Json& j) { j["added_tokens"][1] = j["added_tokens"][0]; },
                  "added_tokens[1]: id 0 was given before");
  const auto tokenizer = load(smollm2());
  EXPECT_NO_THROW(tokenizer.require_ids_below(tokenizer.vocab_size()));
  EXPECT_NO_THROW(tokenizer.require_ids_below(tokenizer.vocab_size() + 64));  // padded embeddings are normal
  expect_error([&] { tokenizer.require_ids_below(1000); }, ErrorKind::model,
               "has id 1023, but the embedding has 1000 rows");
}

TEST(TokenizerFaultTest, fault_057_gguf_arrays) {
  expect_bad_gguf([](LlamaGguf& g) { g.vocab.scores.pop_back(); }, "scores has 261 entries for 262 tokens");
  expect_bad_gguf([](LlamaGguf& g) { g.vocab.scores.clear(); }, "scores has 0 entries");
  expect_bad_gguf([](LlamaGguf& g) { g.vocab.token_types.push_back(1); }, "token_type has 263 entries");
  expect_bad_gguf([](LlamaGguf& g) { g.vocab.token_types[5] = 7; }, "token 5: type 7 is unknown");
  expect_bad_gguf([](LlamaGguf& g) { g.vocab.token_types[5] = -1; }, "type -1 is unknown");
  expect_bad_gguf([](LlamaGguf& g) { g.vocab.scores[260] = std::numeric_limits<float>::quiet_NaN(); }, "not finite");
  expect_bad_gguf([](LlamaGguf& g) { g.vocab.bos_id = 262; }, "bos_token_id: 262 is out of range (262 tokens)");
  expect_bad_gguf([](LlamaGguf& g) { g.vocab.eos_id = -1; }, "eos_token_id: -1 is out of range");
  expect_bad_gguf([](LlamaGguf& g) { g.vocab.eot_id = int64_t{1} << 32; }, "eot_token_id");
  expect_bad_gguf([](LlamaGguf& g) { g.texts[261] = "a"; }, "tokens 260 and 261 are both 'a'");
  expect_bad_gguf([](LlamaGguf& g) { g.texts.clear(); }, "tokens is missing or empty");
}

TEST(TokenizerFaultTest, fault_058_byte_and_odd_tokens) {
  for (const char* text : {"<0x-1>", "<0xZZ>", "<0x100>", "<0x0>", "0x0A", "<0x 1>"}) {
    expect_bad_gguf([&](LlamaGguf& g) { g.texts[20] = text; }, "is no byte token");
  }
  expect_bad_gguf([](LlamaGguf& g) { g.texts[260] = std::string(1 << 20, 'a'); }, "token 260: 1048576 bytes");
  expect_bad_json([](Json& j) { j["model"]["vocab"][std::string(1 << 20, 'a')] = 2000u; }, "1048576 bytes");
  LlamaGguf gguf;
  gguf.texts[260] = "";
  EXPECT_EQ(gguf.load().warnings(), std::vector<std::string>{"model.gguf: token 260 is empty"});
  Json json = llama2();
  json["model"]["vocab"]["<0xZZ>"] = 1200u;  // an ordinary text where no type says byte
  EXPECT_EQ(load(json).token_piece(1200), "<0xZZ>");
}

TEST(TokenizerFaultTest, fault_059_merges) {
  expect_bad_json(
      [](Json& j) {
        j["model"]["merges"][3] = Json::array({"q", "nowhere"});
      },
      "model.merges[3]: 'nowhere' is not in the vocabulary");
  expect_bad_json([](Json& j) { j["model"]["merges"][3] = "q x"; }, "model.merges[3]: 'qx' is not in the vocabulary");
  for (const Json& bad : {Json("one"), Json("a b c"), Json::array({"a"}), Json::array({"a", 1}), Json(5)}) {
    expect_bad_json([&](Json& j) { j["model"]["merges"][3] = bad; }, "model.merges[3]: not two tokens");
  }
  expect_bad_json([](Json& j) { j["model"]["merges"] = "x"; }, "model.merges: not an array");
  std::vector<std::string> texts{"a", "b", "ab"};
  GgufVocab vocab;
  vocab.model = "gpt2";
  vocab.pre = "gpt-2";
  vocab.tokens.assign(texts.begin(), texts.end());
  vocab.merges = {"a b"};
  EXPECT_EQ(Tokenizer::from_gguf(vocab, "m.gguf").encode("abab"), (Ids{2, 2}));
  for (const char* bad : {"a x", "ab", "", " ", "b a"}) {
    vocab.merges[0] = bad;
    expect_error([&] { Tokenizer::from_gguf(vocab, "m.gguf"); }, ErrorKind::model, "tokenizer.ggml.merges[0]: ");
  }
}

// Merges that lead back to where they came from: each step still joins two symbols.
TEST(TokenizerFaultTest, fault_059_merge_cycles_end) {
  std::vector<std::string> texts{"a", "b", "ab", "ba", "abba", "baab"};
  GgufVocab vocab;
  vocab.model = "gpt2";
  vocab.pre = "gpt-2";
  vocab.tokens.assign(texts.begin(), texts.end());
  vocab.merges = {"a b", "b a", "ab ba", "ba ab"};
  EXPECT_EQ(Tokenizer::from_gguf(vocab, "m.gguf").encode("abba"), (Ids{4}));
  vocab.merges = {"b a", "a b", "ba ab", "ab ba"};
  const auto tokenizer = Tokenizer::from_gguf(vocab, "m.gguf");
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += "ab";
  Ids ids;
  EXPECT_LT(seconds([&] { ids = tokenizer.encode(text); }), kTimeScale);
  EXPECT_EQ(tokenizer.decode(ids, false), text);
}

TEST(TokenizerFaultTest, fault_059_many_merges) {
  Json json = smollm2();
  Json& merges = json["model"]["merges"];
  const Json first = merges[0];
  for (int i = 0; i < 500'000; ++i) merges.push_back(first);
  EXPECT_LT(seconds([&] { load(json); }), 2 * kTimeScale);
}

TEST(TokenizerFaultTest, fault_060_invalid_utf8_is_replaced) {
  const auto tokenizer = load(smollm2());
  const auto round_trip = [&](std::string_view text) { return tokenizer.decode(tokenizer.encode(text), false); };
  EXPECT_EQ(round_trip("caf\u00e9 \U0001f600"), "caf\u00e9 \U0001f600");
  EXPECT_EQ(round_trip("a\xff\xfe z"), "a\ufffd\ufffd z");
  EXPECT_EQ(round_trip("\xed\xa0\x80"), "\ufffd\ufffd\ufffd");  // a lone surrogate
  EXPECT_EQ(round_trip("\xe4\xbd"), "\ufffd");                  // the beginning of a character
  EXPECT_EQ(round_trip("\xf4\x90\x80\x80"), "\ufffd\ufffd\ufffd\ufffd");
  EXPECT_EQ(round_trip(std::string(3, '\0')), std::string(3, '\0'));
}

void expect_linear(const Tokenizer& tokenizer, const std::string& text) {
  Ids ids;
  EXPECT_LT(seconds([&] { ids = tokenizer.encode(text); }), 2 * kTimeScale) << text.substr(0, 8);
  EXPECT_GT(ids.size(), 1000u);
  EXPECT_LT(seconds([&] { tokenizer.decode(ids, true); }), 2 * kTimeScale) << text.substr(0, 8);
}

TEST(TokenizerFaultTest, fault_060_long_texts_take_linear_time) {
  const auto bytes = load(smollm2());
  const auto llama = Tokenizer::from_sentencepiece_model(golden_text("llama2/tokenizer.model"), nullptr, "m");
  for (const char letter : {'a', ' ', '\n'}) expect_linear(bytes, std::string(4'000'000, letter));
  for (const char letter : {'a', ' '}) expect_linear(llama, std::string(4'000'000, letter));
  expect_linear(llama, std::string(1'000'000, '\xff'));
}

TEST(TokenizerFaultTest, fault_060_combining_marks_take_linear_time) {
  const auto normalizing = load(parse_json(golden_text("qwen2_cut/tokenizer.json"), "tokenizer.json"));
  std::string marks;  // in an order that normalization must sort
  for (int i = 0; i < 250'000; ++i) marks += "\u0301\u0323";
  expect_linear(normalizing, marks);
  expect_linear(load(smollm2()), marks);
}

Json with_split(const char* expression) {
  Json json = smollm2();
  json["pre_tokenizer"] = {{"type", "Sequence"},
                           {"pretokenizers",
                            {{{"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", "Isolated"}},
                             {{"type", "ByteLevel"}, {"use_regex", false}, {"add_prefix_space", false}}}}};
  return json;
}

TEST(TokenizerFaultTest, fault_061_catastrophic_expressions_end) {
  for (const char* expression : {"(a+)+$", "(a|aa)+b", "(?:a*)*b", "(.*)*x", "(?=(a+)+b)", "a*a*a*a*a*a*a*b"}) {
    const auto tokenizer = load(with_split(expression));
    const std::string text = std::string(20'000, 'a') + "c";
    const double time = seconds([&] { EXPECT_THROW(tokenizer.encode(text), Error) << expression; });
    EXPECT_LT(time, 5 * kTimeScale) << expression;
    EXPECT_NO_THROW(tokenizer.encode("short"));
  }
}

TEST(TokenizerFaultTest, fault_061_bad_expressions) {
  ASSERT_NO_THROW(load(with_split("[a-z]+")));
  for (const char* expression : {"(", "[a", "a{2,1}", "(?<n>", "\\p{Nonsense}", "[a&&b]", "[a[bc]]", "\\h+", "\\C"}) {
    expect_error([&] { load(with_split(expression)); }, ErrorKind::model,
                 "tokenizer.json: pre_tokenizer[0].pattern: expression '");
  }
  const std::string nested(10'000, '(');
  expect_error([&] { load(with_split(nested.c_str())); }, ErrorKind::model, "expression '");
}

TEST(TokenizerFaultTest, fault_061_growing_normalizers_end) {
  Json json = smollm2();
  Json steps = Json::array();
  for (int i = 0; i < 60; ++i) {
    steps.push_back({{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}});
  }
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", steps}};
  const auto tokenizer = load(json);
  EXPECT_NO_THROW(tokenizer.encode("b"));
  expect_error([&] { tokenizer.encode("a"); }, ErrorKind::request, "the tokenizer's normalizer makes");
}

TEST(TokenizerFaultTest, fault_056_sentencepiece_model_cut_and_flipped) {
  const std::string good = golden_text("llama2/tokenizer.model");
  const auto load_model = [](const std::string& bytes) {
    return Tokenizer::from_sentencepiece_model(bytes, nullptr, "tokenizer.model");
  };
  ASSERT_NO_THROW(load_model(good));
  expect_error([&] { load_model(""); }, ErrorKind::model, "tokenizer.model: not a SentencePiece model: no pieces");
  expect_error([&] { load_model(good.substr(0, 20)); }, ErrorKind::model, "tokenizer.model: a field of ");
  expect_error([&] { load_model("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"); }, ErrorKind::model, "0 left");
  size_t n_errors = 0;
  const auto try_model = [&](const std::string& bytes) {
    try {
      load_model(bytes).encode("some text <s> \xe2\x96\x81");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::model);
      ++n_errors;
    }
  };
  for (size_t n = 0; n < good.size(); n += n < 200 || n + 200 > good.size() ? 1 : 97) try_model(good.substr(0, n));
  EXPECT_GT(n_errors, 300u);
  for (size_t i = 0; i < good.size(); i += i < 200 || i + 200 > good.size() ? 1 : 89) {
    std::string flipped = good;
    flipped[i] = static_cast<char>(flipped[i] ^ (1 << i % 8));
    try_model(flipped);
  }
}

}  // namespace
}  // namespace packhorse
