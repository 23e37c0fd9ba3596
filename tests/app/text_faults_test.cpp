// Rows 56 to 58 and 62 of the fault catalogue as the engine meets them: tokenizer files, token ids, chat templates.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "app/tiny_llama.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::GgufFile;
using testing::GgufKey;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing::TinyFolder;

/// A folder whose tokenizer has 1024 ids, and a GGUF file with a token for each byte.
class TextFaults : public ::testing::Test {
 protected:
  static constexpr int64_t kIds = 1024;

  void SetUp() override {
    write_folder();
    write("tokenizer.json", tokenizer_json());
    write("generation_config.json", R"({"eos_token_id": [2, 1023], "temperature": 0.5, "top_k": 7})");
    EXPECT_EQ(open(folder()).tokenize("Hello").size(), 3u);
    EXPECT_EQ(open(gguf(byte_vocab())).tokenize("Hello").size(), 6u);
  }

  static Engine open(const std::string& path) {
    EngineOptions options;
    options.model = path;
    options.threads = 1;
    return Engine(options);
  }
  static std::string failure(const std::string& path, ErrorKind kind = ErrorKind::model) {
    return testing::quick_failure(kind, [&] { open(path); });
  }

  static std::string tokenizer_json() {
    return testing::read_text(testing::golden_dir() / "tokenizer/smollm2_cut/tokenizer.json");
  }
  std::string folder() const { return dir_.path(); }
  void write(const char* name, std::string_view text) const {
    fs::remove_all(dir_.file(name));
    testing::write_text(dir_.file(name), text);
  }
  void write_folder(int64_t vocab = kIds, const Json& eos = nullptr) const {
    TinyFolder model = testing::tiny_folder({.layers = 1, .vocab = vocab});
    if (!eos.is_null()) model.config["eos_token_id"] = eos;
    model.tensors.write(dir_, model.config);
  }

  static GgufFile byte_vocab() {
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
    std::vector<int32_t> types = {2, 3, 3};
    for (int byte = 0; byte < 256; ++byte) {
      tokens.push_back(fmt::format("<0x{:02X}>", byte));
      types.push_back(6);
    }
    GgufFile file = testing::tiny_gguf({.layers = 1, .vocab = 259});
    testing::set_key(file, testing::string_key("tokenizer.ggml.model", "llama"));
    testing::set_key(file, testing::strings_key("tokenizer.ggml.tokens", tokens));
    testing::set_key(file, testing::array_key("tokenizer.ggml.scores", 6, std::vector<float>(tokens.size())));
    testing::set_key(file, testing::array_key("tokenizer.ggml.token_type", 5, types));
    testing::set_key(file, {"tokenizer.ggml.add_space_prefix", 7, std::string(1, '\0')});
    testing::set_key(file, testing::u32_key("tokenizer.ggml.bos_token_id", 1));
    testing::set_key(file, testing::u32_key("tokenizer.ggml.eos_token_id", 2));
    return file;
  }
  std::string gguf(GgufFile file) const {
    testing::write_text(gguf_dir_.file("m.gguf"), file.write());
    return gguf_dir_.file("m.gguf");
  }

  testing::TempDir dir_, gguf_dir_;
};

TEST_F(TextFaults, fault_056_tokenizer_file) {
  const std::string good = tokenizer_json();
  fs::remove(dir_.file("tokenizer.json"));
  EXPECT_THAT(failure(folder()), HasSubstr("neither tokenizer.json nor tokenizer.model found"));
  for (const size_t n : {size_t{0}, size_t{1}, good.size() / 2, good.size() - 2}) {
    write("tokenizer.json", std::string_view(good).substr(0, n));
    EXPECT_THAT(failure(folder()), StartsWith("tokenizer.json: byte ")) << n;
  }
  Json json = Json::parse(good);
  json["model"]["type"] = "Unigram\x1b";
  write("tokenizer.json", json.dump());
  EXPECT_THAT(failure(folder()), HasSubstr("tokenizer.json: model: type 'Unigram\\x1b' is not supported"));
  fs::remove(dir_.file("tokenizer.json"));
  fs::create_directory(dir_.file("tokenizer.json"));
  EXPECT_THAT(failure(folder()), HasSubstr("tokenizer.json: not a regular file"));
  fs::remove(dir_.file("tokenizer.json"));
  ASSERT_EQ(::mkfifo(dir_.file("tokenizer.json").c_str(), 0600), 0);
  EXPECT_THAT(failure(folder()), HasSubstr("tokenizer.json: not a regular file"));
}

TEST_F(TextFaults, fault_056_gguf_without_a_tokenizer) {
  for (const char* model : {"no_vocab", "none"}) {
    GgufFile file = byte_vocab();
    testing::set_key(file, testing::string_key("tokenizer.ggml.model", model));
    EXPECT_THAT(failure(gguf(file)), HasSubstr("the file holds no tokenizer"));
    EXPECT_EQ(testing::open_engine(gguf(file)).vocab_size(), 259);
  }
}

TEST_F(TextFaults, fault_057_ids_past_the_embedding) {
  write_folder(kIds + 64);  // padded
  EXPECT_EQ(open(folder()).vocab_size(), kIds + 64);
  write_folder(kIds - 24);
  EXPECT_THAT(failure(folder()), HasSubstr("has id 1023, but the embedding has 1000 rows"));
}

TEST_F(TextFaults, fault_057_end_ids) {
  const std::vector<std::pair<Json, const char*>> cases = {{-1, "(got -1, "},
                                                           {kIds, "(got 1024, "},
                                                           {int64_t{1} << 32, "(got 4294967296, "},
                                                           {UINT64_MAX, "(got 1844"},
                                                           {"2", "(got \"2\", "},
                                                           {1.5, "(got 1.5, "},
                                                           {true, "(got true, "},
                                                           {{2, -1}, "(got -1, "},
                                                           {{{"id", 2}}, "(got an object, "},
                                                           {{2, nullptr}, "(got null, "}};
  for (const auto& [value, shown] : cases) {
    write("generation_config.json", Json{{"eos_token_id", value}}.dump());
    EXPECT_THAT(failure(folder()), StartsWith("generation_config.json: key 'eos_token_id': not a token id "));
    EXPECT_THAT(failure(folder()), HasSubstr(shown));
    EXPECT_THAT(failure(folder()), HasSubstr("vocabulary 1024)"));
    fs::remove(dir_.file("generation_config.json"));
    write_folder(kIds, value);
    EXPECT_THAT(failure(folder()), StartsWith("config.json: key 'eos_token_id': not a token id "));
    write_folder();
  }
  for (const int32_t id : {-1, 259, INT32_MAX}) {
    GgufFile file = byte_vocab();
    testing::set_key(file, testing::i32_key("tokenizer.ggml.eos_token_id", id));
    EXPECT_THAT(failure(gguf(file)), HasSubstr(fmt::format("eos_token_id: {} is out of range (259 tokens)", id)));
    const std::string path = gguf(file);
    EXPECT_THAT(testing::quick_failure(ErrorKind::model, [&] { testing::open_engine(path); }),
                HasSubstr(fmt::format("m.gguf: key 'tokenizer.ggml.eos_token_id': not a token id (got {}", id)));
  }
}

TEST_F(TextFaults, fault_057_generation_config) {
  for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
           {"", "generation_config.json: byte 0"},
           {"[]", "generation_config.json: not an object"},
           {R"({"temperature": "hot"})", "key 'temperature': expected a number (got \"hot\")"},
           {R"({"temperature": 1e999})", "generation_config.json: byte "},
           {R"({"top_k": 1e30})", "key 'top_k': expected a whole number (got 1e+30)"},
           {R"({"top_k": 18446744073709551615})", "key 'top_k': expected a whole number (got 18446744073709551615)"},
           {R"({"max_new_tokens": 2.5})", "key 'max_new_tokens': expected a whole number (got 2.5)"}}) {
    write("generation_config.json", text);
    const std::string got = testing::failure_of(ErrorKind::model, [&] { open(folder()).default_sampling_params(); });
    EXPECT_THAT(got, HasSubstr(part)) << text;
  }
}

TEST_F(TextFaults, the_users_sampling_defaults_go_over_the_models) {
  const auto params = [&](const char* overrides, const char* source = "auto") {
    EngineOptions options;
    options.model = folder();
    options.threads = 1;
    options.generation_config = source;
    options.override_generation_config = overrides;
    const Engine engine(options);
    const SamplingParams p = engine.default_sampling_params();
    return fmt::format("{} {} {} {}", p.temperature, p.top_k, p.max_tokens.value(),
                       engine.max_new_tokens().value_or(0));
  };
  EXPECT_EQ(params(""), "0.5 7 16 0");
  EXPECT_EQ(params(R"({"temperature": 0.25, "max_new_tokens": 16})"), "0.25 7 16 16");
  EXPECT_EQ(params(R"({"top_k": 9, "max_new_tokens": 5})", "vllm"), "1 9 5 5");
  EXPECT_EQ(params(R"({"temperature": null})"), "1 7 16 0");
}

TEST_F(TextFaults, fault_122_sampling_defaults_that_no_request_could_have) {
  for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
           {"{", "byte 1"},
           {"[]", "not a JSON object (got an array of 0)"},
           {"null", "not a JSON object (got null"},
           {R"({"temprature": 1})", "no key 'temprature' (allowed: repetition_penalty, temperature, top_k, top_p, "},
           {R"({"temperature": "hot"})", "key 'temperature': expected a number (got \"hot\")"},
           {R"({"temperature": 3})", "temperature must be in [0, 2], got 3"},
           {R"({"top_p": 0})", "top_p must be in (0, 1], got 0"},
           {R"({"top_k": -7})", "top_k must be 0 (disabled) or at least 1, got -7"},
           {R"({"max_new_tokens": 0})", "max_new_tokens must be at least 1 (got 0)"},
           {R"({"max_new_tokens": 2.5})", "key 'max_new_tokens': expected a whole number (got 2.5)"}}) {
    EngineOptions options;
    options.model = folder();
    options.override_generation_config = text;
    const std::string got = testing::quick_failure(ErrorKind::usage, [&] { Engine{options}; });
    EXPECT_THAT(got, AllOf(StartsWith("override_generation_config: "), HasSubstr(part))) << text;
  }
}

TEST_F(TextFaults, fault_063_limits_of_templates_are_the_users) {
  const auto render = [&](const char* source, int64_t steps, int64_t output_mb) {
    EngineOptions options;
    options.model = folder();
    options.chat_template = source;
    options.template_steps = steps;
    options.template_output_mb = output_mb;
    const std::string own = ModelText(options).render_chat({.messages_json = R"([{"role": "user", "content": "x"}])"});
    options.chat_template.clear();
    EXPECT_EQ(own, ModelText(options).render_chat(
                       {.messages_json = R"([{"role": "user", "content": "x"}])", .chat_template = source}));
    return own.size();
  };
  const auto refused = [&](const char* source, int64_t steps, int64_t output_mb) {
    return testing::failure_of(ErrorKind::request, [&] { render(source, steps, output_mb); });
  };
  const char* loop = "{% for i in range(1000) %}x{% endfor %}";
  const char* large = "{% set a = 'x' * 1000000 %}{% for i in range(20) %}{{ a }}{% endfor %}";
  EXPECT_EQ(render(loop, 10'000, 1), 1000u);
  EXPECT_THAT(refused(loop, 100, 1), HasSubstr("(more than 100 evaluation steps)"));
  EXPECT_EQ(render(large, 1'000'000, 20), 20'000'000u);
  EXPECT_THAT(refused(large, 1'000'000, 16), HasSubstr("(more than 16777216 bytes of text)"));
}

TEST_F(TextFaults, fault_058_vocabulary_keys_of_a_wrong_type) {
  const auto wrong = [&](GgufKey key, const std::string& expected) {
    GgufFile file = byte_vocab();
    const std::string name = key.name;
    testing::set_key(file, std::move(key));
    EXPECT_THAT(failure(gguf(file)), StartsWith(fmt::format("m.gguf: key '{}': expected {}", name, expected)));
  };
  const std::string tokens = "tokenizer.ggml.tokens", types = "tokenizer.ggml.token_type";
  wrong(testing::string_key(tokens, "a"), "an array");
  wrong(testing::array_key(tokens, 4, std::vector<uint32_t>(259)), "an array of strings");
  wrong(testing::strings_key("tokenizer.ggml.scores", std::vector<std::string>(259)), "an array of numbers");
  wrong(testing::array_key(types, 6, std::vector<float>(259, 1e30f)), "an array of 32-bit integers");
  wrong(testing::array_key(types, 10, std::vector<uint64_t>(259, uint64_t{1} << 40)), "an array of 32-bit integers");
  wrong(testing::string_key("tokenizer.ggml.bos_token_id", "1"), "a token id");
  wrong(testing::f32_key("tokenizer.ggml.bos_token_id", 1), "a token id");
  wrong(testing::u32_key("tokenizer.ggml.add_bos_token", 1), "true or false");
  wrong(testing::u32_key("tokenizer.ggml.model", 1), "a string");
  wrong(testing::u32_key("tokenizer.chat_template", 1), "a string");
}

// A model with a broken template loads; who chats is told where it is broken.
TEST_F(TextFaults, fault_062_template_of_the_model) {
  const ChatPrompt chat{.messages_json = R"([{"role": "user", "content": "Hi"}])"};
  write("chat_template.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}");
  EXPECT_EQ(open(folder()).render_chat(chat), "Hi");
  write("chat_template.jinja", "a\n {% if %}");
  const Engine syntax = open(folder());
  EXPECT_THAT(testing::failure_of(ErrorKind::model, [&] { syntax.render_chat(chat); }),
              StartsWith("chat template: line 2, column "));
  EXPECT_EQ(syntax.tokenize("Hello").size(), 3u);
  write("chat_template.jinja", "{{ nothing.at.all }}");
  const Engine undefined = open(folder());
  EXPECT_THAT(testing::failure_of(ErrorKind::request, [&] { undefined.render_chat(chat); }),
              StartsWith("chat template: line 1, column "));
}

}  // namespace
}  // namespace packhorse
