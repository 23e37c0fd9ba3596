#include "engine/resolve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.h"
#include "testing.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

/// A hub cache with one repo, and no variables that name another.
class Resolve : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HF_ENDPOINT"}) ::unsetenv(name);
    ::setenv("HF_HUB_OFFLINE", "1", 1);
    const fs::path repo = cache() / "models--owner--name";
    fs::create_directories(repo / "refs/refs/pr");
    for (const char* commit : {"abc123", "def456"}) {
      fs::create_directories(repo / "snapshots" / commit);
      for (const char* file : {"config.json", "tokenizer.json", "model.safetensors"}) {
        testing::write_text(repo / "snapshots" / commit / file, "x");
      }
    }
    testing::write_text(repo / "refs/main", "abc123\n");
    testing::write_text(repo / "refs/refs/pr/1", "def456");
    options_.download_dir = cache();
  }
  void TearDown() override { ::unsetenv("HF_HUB_OFFLINE"); }
  fs::path cache() const { return folder_.path() / "hub"; }
  std::string snapshot(const char* commit) const { return cache() / "models--owner--name/snapshots" / commit; }

  void expect_error(ErrorKind kind, const std::string& name, const std::string& part) {
    try {
      resolve_model(name, options_);
      FAIL() << name;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), kind) << e.what();
      EXPECT_THAT(e.what(), HasSubstr(part));
    }
  }

  testing::TempDir folder_;
  EngineOptions options_;
};

TEST_F(Resolve, a_path_is_itself) {
  testing::write_text(folder_.path() / "m.gguf", "x");
  EXPECT_EQ(resolve_model(folder_.file("m.gguf"), options_), folder_.file("m.gguf"));
  EXPECT_EQ(resolve_model(folder_.path(), options_), folder_.path());
}

TEST_F(Resolve, revisions_of_a_repo) {
  EXPECT_EQ(resolve_model("owner/name", options_), snapshot("abc123"));
  options_.revision = "refs/pr/1";
  EXPECT_EQ(resolve_model("owner/name", options_), snapshot("def456"));
  options_.revision = "def456";
  EXPECT_EQ(resolve_model("owner/name", options_), snapshot("def456"));
}

TEST_F(Resolve, places_of_the_cache) {
  options_.download_dir.clear();
  ::setenv("HF_HUB_CACHE", cache().c_str(), 1);
  EXPECT_EQ(resolve_model("owner/name", options_), snapshot("abc123"));
  ::unsetenv("HF_HUB_CACHE");
  ::setenv("HF_HOME", folder_.path().c_str(), 1);
  EXPECT_EQ(resolve_model("owner/name", options_), snapshot("abc123"));
  ::unsetenv("HF_HOME");
  fs::create_directories(folder_.path() / "huggingface");
  fs::rename(cache(), folder_.path() / "huggingface/hub");
  ::setenv("XDG_CACHE_HOME", folder_.path().c_str(), 1);
  EXPECT_EQ(resolve_model("owner/name", options_),
            folder_.path() / "huggingface/hub/models--owner--name/snapshots/abc123");
  ::unsetenv("XDG_CACHE_HOME");
}

TEST_F(Resolve, fault_125_not_cached) {
  expect_error(ErrorKind::model, "owner/other", "models--owner--other");
  options_.revision = "v2";
  expect_error(ErrorKind::model, "owner/name", "v2");
  ::unsetenv("HF_HUB_OFFLINE");
  expect_error(ErrorKind::model, "name", "OWNER/NAME");  // never asked for: more likely a mistyped path
}

TEST_F(Resolve, fault_125_settings_that_cannot_be) {
  ::setenv("HF_ENDPOINT", "ftp://host", 1);
  expect_error(ErrorKind::usage, "owner/name", "HF_ENDPOINT");
  ::unsetenv("HF_ENDPOINT");
  options_.hf_token = "hf_a\r\nX-Other: b";
  expect_error(ErrorKind::usage, "owner/name", "HF_TOKEN");
}

TEST_F(Resolve, a_gguf_file_of_a_repo) {
  testing::write_text(cache() / "models--owner--name/snapshots/abc123/m-Q8_0.gguf", "x");
  EXPECT_EQ(resolve_model("owner/name:q8_0", options_), snapshot("abc123") + "/m-Q8_0.gguf");
  EXPECT_EQ(resolve_model("owner/name/m-Q8_0.gguf", options_), snapshot("abc123") + "/m-Q8_0.gguf");
  EXPECT_EQ(resolve_model("owner/name", options_), snapshot("abc123"));
}

TEST_F(Resolve, a_tokenizer_has_its_own_revision) {
  options_.revision = "def456";
  EXPECT_EQ(resolve_tokenizer("owner/name", options_), snapshot("abc123"));
}

TEST_F(Resolve, fault_123_neither_path_nor_repo) {
  expect_error(ErrorKind::model, folder_.file("none"), "no such file or folder");
  expect_error(ErrorKind::model, "none.gguf", "none.gguf");
  expect_error(ErrorKind::model, "a/b/c", "a/b/c");
  expect_error(ErrorKind::model, "a b", "a b");
  expect_error(ErrorKind::model, "folder/none.gguf", "no such file or folder");
  expect_error(ErrorKind::usage, "", "empty");
}

// Neither a revision nor what a ref file holds may lead out of the cache.
TEST_F(Resolve, fault_042_no_way_out_of_the_cache) {
  fs::create_directories(cache() / "outside");
  for (const char* revision : {"../../outside", "..", "/etc", "a//b", "a/../b", "-x", ".hidden"}) {
    options_.revision = revision;
    expect_error(ErrorKind::usage, "owner/name", "revision");
  }
  options_.revision.clear();
  testing::write_text(cache() / "models--owner--name/refs/main", "../../../outside");
  expect_error(ErrorKind::model, "owner/name", "not a commit");
  expect_error(ErrorKind::model, "../name", "no such file");
}

TEST_F(Resolve, fault_124_name_too_long) { expect_error(ErrorKind::io, std::string(5000, 'a'), "aaa..."); }

}  // namespace
}  // namespace packhorse
