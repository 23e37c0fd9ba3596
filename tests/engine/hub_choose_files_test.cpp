#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/hub/choose_files.h"

namespace packhorse::hub {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Paths = std::vector<std::string>;

FileChoice choose(const std::string& name, const Paths& paths, Need need = Need::model) {
  return choose_files(*parse_reference(name), need, paths);
}
std::string gguf_of(const std::string& name, const Paths& paths) { return choose(name, paths).gguf; }

void expect_error(const std::string& name, const Paths& paths, const std::string& part, Need need = Need::model) {
  try {
    choose(name, paths, need);
    FAIL() << name << ": " << part;
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::model);
    EXPECT_THAT(e.what(), HasSubstr(part));
    EXPECT_THAT(e.what(), HasSubstr("'o/n"));
  }
}

TEST(HubReference, forms) {
  const auto parts = [](std::string_view text) {
    const auto r = parse_reference(text);
    return r ? fmt::format("{}|{}|{}", r->repo, r->tag, r->file) : "none";
  };
  EXPECT_EQ(parts("org/name"), "org/name||");
  EXPECT_EQ(parts("gpt2"), "gpt2||");
  EXPECT_EQ(parts("org/name:Q4_K_M"), "org/name|Q4_K_M|");
  EXPECT_EQ(parts("org/name/file.gguf"), "org/name||file.gguf");
  EXPECT_EQ(parts("org/name/a/b c.gguf"), "org/name||a/b c.gguf");
  for (const char* text : {"", "/", "a/", "/a", "a/b/c", "a/b/", "a/b/../c.gguf", "a/b//c.gguf", "a b/c", "a/b:",
                           "a/b:x/y", "../a", "a/..", "a/b:..", "-a/b", "a/b/c\\d.gguf", "a/b/c\nd.gguf", "a:b"}) {
    EXPECT_EQ(parts(text), "none") << text;
  }
}

TEST(HubChooseFiles, safetensors) {
  const FileChoice choice = choose(
      "o/n", {".gitattributes", "README.md", "config.json", "generation_config.json", "model.safetensors",
              "consolidated.safetensors", "consolidated.safetensors.index.json", "pytorch_model.bin",
              "pytorch_model.bin.index.json", "tokenizer.json", "tokenizer.model", "chat_template.jinja", "merges.txt",
              "original/params.json", "original/model.safetensors", "model.gguf", "modeling_x.py", "vocab.txt"});
  EXPECT_THAT(choice.small, ElementsAre("config.json", "generation_config.json", "tokenizer.json", "tokenizer.model",
                                        "chat_template.jinja", "merges.txt"));
  EXPECT_THAT(choice.weights, ElementsAre("model.safetensors"));
  EXPECT_EQ(choice.gguf + choice.index, "");
}

TEST(HubChooseFiles, an_index_names_the_weights) {
  const FileChoice choice =
      choose("o/n", {"config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json"});
  EXPECT_EQ(choice.index, "model.safetensors.index.json");
  EXPECT_THAT(choice.weights, IsEmpty());
  EXPECT_THAT(choice.small, ElementsAre("config.json", "model.safetensors.index.json"));
}

TEST(HubChooseFiles, weights_under_any_name) {
  EXPECT_THAT(choose("o/n", {"config.json", "a.safetensors", "consolidated.safetensors"}).weights,
              ElementsAre("a.safetensors", "consolidated.safetensors"));
}

TEST(HubChooseFiles, a_tokenizer) {
  const Paths paths = {"config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.model"};
  const FileChoice choice = choose("o/n", paths, Need::tokenizer);
  EXPECT_THAT(choice.small, ElementsAre("config.json", "tokenizer.model"));
  EXPECT_THAT(choice.weights, IsEmpty());
  expect_error("o/n", {"config.json", "model.safetensors"}, "neither tokenizer.json", Need::tokenizer);
}

TEST(HubChooseFiles, the_words_of_a_model) {
  const Paths paths = {"config.json", "m-Q4_K_M.gguf", "model.safetensors", "tokenizer.model"};
  EXPECT_THAT(choose("o/n", paths, Need::text).weights, IsEmpty());
  EXPECT_THAT(choose("o/n:Q4_K_M", paths, Need::text).weights, ElementsAre("m-Q4_K_M.gguf"));
  EXPECT_THAT(choose("o/n", {"m.gguf"}, Need::text).weights, ElementsAre("m.gguf"));
  expect_error("o/n", {"config.json", "m.gguf"}, "neither tokenizer.json", Need::tokenizer);
  expect_error("o/n", {"config.json"}, "neither tokenizer.json", Need::text);
}

TEST(HubChooseFiles, gguf_tags_are_words) {
  const Paths paths = {"m-BF16.gguf",     "m-F16.gguf",      "m.Q4_K_M.gguf",     "m-Q4_K_S.gguf",
                       "m-IQ4_XS.gguf",   "m-Q8_0.gguf",     "m-UD-Q4_K_XL.gguf", "mmproj-F16.gguf",
                       "sub/m_q5_k.gguf", "mtp-m-Q8_0.gguf", "m-q4_0_4_4.gguf"};
  EXPECT_EQ(gguf_of("o/n", paths), "m.Q4_K_M.gguf");
  EXPECT_EQ(gguf_of("o/n:f16", paths), "m-F16.gguf");
  EXPECT_EQ(gguf_of("o/n:BF16", paths), "m-BF16.gguf");
  EXPECT_EQ(gguf_of("o/n:q4_k_s", paths), "m-Q4_K_S.gguf");
  EXPECT_EQ(gguf_of("o/n:Q5_K", paths), "sub/m_q5_k.gguf");
  EXPECT_EQ(gguf_of("o/n:UD-Q4_K_XL", paths), "m-UD-Q4_K_XL.gguf");
  EXPECT_EQ(gguf_of("o/n:Q8_0", paths), "m-Q8_0.gguf");
  for (const char* tag : {"Q4_K", "Q4_0", "4_XS", "Q6_K"}) {
    expect_error(std::string("o/n:") + tag, paths, "no .gguf file of that quantization");
  }
}

TEST(HubChooseFiles, the_only_gguf) {
  EXPECT_EQ(gguf_of("o/n", {"README.md", "m-Q8_0.gguf"}), "m-Q8_0.gguf");
  expect_error("o/n", {"a-Q8_0.gguf", "b-Q6_K.gguf"}, "a-Q8_0.gguf, b-Q6_K.gguf");
  expect_error("o/n", {"a-Q4_K_M.gguf", "b-Q4_K_M.gguf", "c.gguf"}, "2 .gguf files fit");
}

TEST(HubChooseFiles, split_sets) {
  const Paths paths = {"Q4_K_M/m-00001-of-00002.gguf", "Q4_K_M/m-00002-of-00002.gguf", "m-Q8_0-00001-of-00002.gguf"};
  const FileChoice choice = choose("o/n:q4_k_m", paths);
  EXPECT_EQ(choice.gguf, paths[0]);
  EXPECT_THAT(choice.weights, ElementsAre(paths[0], paths[1]));
  EXPECT_EQ(gguf_of("o/n/" + paths[1], paths), paths[0]);
  expect_error("o/n:Q8_0", paths, "1 of the 2 parts");
}

TEST(HubChooseFiles, files_by_path) {
  const Paths paths = {"config.json", "model.safetensors", "a.gguf", "sub/b.gguf"};
  EXPECT_EQ(gguf_of("o/n/sub/b.gguf", paths), "sub/b.gguf");
  EXPECT_EQ(gguf_of("o/n", paths), "");  // the folder: safetensors come first
  expect_error("o/n/b.gguf", paths, "no such file in the repo (there are a.gguf, sub/b.gguf)");
}

TEST(HubChooseFiles, nothing_to_load) {
  expect_error("o/n", {"config.json", "pytorch_model.bin"}, "pickle checkpoints are not loaded");
  expect_error("o/n", {"README.md"}, "neither .safetensors nor .gguf");
  expect_error("o/n", {"adapter_model.safetensors"}, "no config.json beside adapter_model.safetensors");
  expect_error("o/n:Q4_K_M", {"config.json", "model.safetensors"}, "no .gguf file");
}

}  // namespace
}  // namespace packhorse::hub
