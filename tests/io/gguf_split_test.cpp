#include <gtest/gtest.h>

#include "base/error.h"
#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "testing.h"

namespace packhorse {
namespace {

using testing::GgufFile;
using testing::TempDir;

void expect_failure(const std::string& path, std::string_view part) {
  try {
    open_checkpoint(path);
    ADD_FAILURE() << "loaded, expected: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::model);
    EXPECT_NE(std::string_view(error.what()).find(part), std::string::npos) << error.what() << "\nexpected: " << part;
  }
}

/// A split set of three parts in a folder: `parts_` may be changed and written again.
class GgufSplit : public ::testing::Test {
 protected:
  GgufSplit() {
    for (uint16_t i = 0; i < 3; ++i) {
      parts_[i].keys = {testing::u16_key("split.no", i), testing::u16_key("split.count", 3),
                        testing::i32_key("split.tensors.count", 4)};
      parts_[i].tensors = {{fmt::format("t{}", i), {8}, 0, 32}};
    }
    parts_[2].tensors.push_back({"last", {4}, 0, 16});
    parts_[0].keys.push_back(testing::string_key("general.architecture", "llama"));
  }
  void SetUp() override {
    write();
    ASSERT_EQ(open_checkpoint(part(1)).tensors.size(), 4u);
  }
  std::string part(int number) const { return dir_.file(fmt::format("m-{:05}-of-00003.gguf", number)); }
  void write() {
    for (int i = 0; i < 3; ++i) testing::write_text(part(i + 1), parts_[i].write());
  }

  TempDir dir_;
  GgufFile parts_[3];
};

TEST_F(GgufSplit, first_part_opens_the_set) {
  for (const std::string& path : {part(1), dir_.path().string()}) {
    const CheckpointView view = open_checkpoint(path);
    EXPECT_EQ(view.gguf["general.architecture"], "llama");
    ASSERT_EQ(view.files.size(), 3u);
    EXPECT_EQ(view.file_metadata.size(), 3u);
    EXPECT_EQ(view.at("last").file, 2u);
    EXPECT_EQ(view.describe("last"), "m-00003-of-00003.gguf: tensor 'last'");
    EXPECT_EQ(view.read_all(view.at("last")), std::vector<std::byte>(16, std::byte{'d'}));
  }
}

TEST_F(GgufSplit, fault_027_part_missing) {
  std::filesystem::remove(part(2));
  expect_failure(part(1), "m-00002-of-00003.gguf: part 2 of 3 is missing");
  expect_failure(dir_.path(), "not one complete split set");
  write();
  std::filesystem::remove(part(3));
  expect_failure(part(1), "m-00003-of-00003.gguf: part 3 of 3 is missing");
}

TEST_F(GgufSplit, fault_027_not_the_first_part) { expect_failure(part(2), "this is part 2 of 3; open the first part"); }

TEST_F(GgufSplit, fault_027_count_disagrees_with_the_name) {
  for (const int i : {0, 1}) {
    parts_[i].keys[1] = testing::u16_key("split.count", 2);
    write();
    expect_failure(part(1),
                   fmt::format("m-{:05}-of-00003.gguf: keys 'split.no' {} and 'split.count' 2 disagree", i + 1, i));
    parts_[i].keys[1] = testing::u16_key("split.count", 3);
  }
  testing::write_text(dir_.file("renamed.gguf"), parts_[0].write());
  expect_failure(dir_.file("renamed.gguf"), "disagree with the file's name: part 1 of 1");
  parts_[0].keys[1] = testing::string_key("split.count", "3");
  write();
  expect_failure(part(1), "key 'split.count': not an unsigned integer");
}

TEST_F(GgufSplit, fault_027_number_repeated) {
  parts_[2].keys[0] = testing::u16_key("split.no", 1);
  write();
  expect_failure(part(1), "m-00003-of-00003.gguf: keys 'split.no' 1 and 'split.count' 3 disagree");
}

TEST_F(GgufSplit, fault_027_parts_of_two_models) {
  parts_[1].tensors[0].name = "t0";
  write();
  expect_failure(part(1), "m-00002-of-00003.gguf: tensor 't0' is in m-00001-of-00003.gguf too");
  parts_[1].tensors.clear();
  write();
  expect_failure(part(1), "'split.tensors.count' is 4, but the parts hold 3 tensors");
  parts_[1].keys[2] = testing::i32_key("split.tensors.count", 9);
  write();
  expect_failure(part(1), "key 'split.tensors.count': 9 in this part, 4 in the first");
}

TEST_F(GgufSplit, merged_file_counts_zero_parts) {
  GgufFile merged;
  merged.keys = {testing::u16_key("split.no", 0), testing::u16_key("split.count", 0),
                 testing::i32_key("split.tensors.count", 1)};
  merged.tensors = {{"t", {8}, 0, 32}};
  testing::write_text(dir_.file("merged.gguf"), merged.write());
  EXPECT_EQ(open_checkpoint(dir_.file("merged.gguf")).tensors.size(), 1u);
}

TEST(GgufSplitName, parses_only_its_own_form) {
  const GgufSplitName name = parse_gguf_split_name("/a/b-00002-of-00005.gguf");
  EXPECT_EQ(name.base, "/a/b");
  EXPECT_EQ(name.part, 2u);
  EXPECT_EQ(name.count, 5u);
  EXPECT_EQ(format_gguf_split_name(name), "/a/b-00002-of-00005.gguf");
  for (const char* path :
       {"b.gguf", "-00001-of-00002.gguf", "b-00003-of-00002.gguf", "b-00000-of-00002.gguf", "b-0000x-of-00002.gguf",
        "b-00001-of-00002", "b-00001_of-00002.gguf", "b 00001-of-00002.gguf", ".gguf", ""}) {
    EXPECT_EQ(parse_gguf_split_name(path).count, 1u) << path;
  }
}

/// Kinds of GGUF files that are no model.
TEST(GgufKind, fault_030_adapter_and_projector) {
  const TempDir dir;
  GgufFile file;
  file.tensors = {{"t", {8}, 0, 32}};
  const auto write = [&](std::vector<testing::GgufKey> keys) {
    file.keys = std::move(keys);
    testing::write_text(dir.file("m.gguf"), file.write());
    return dir.file("m.gguf");
  };
  const auto architecture = testing::string_key("general.architecture", "llama");
  ASSERT_TRUE(open_checkpoint(write({architecture})).is_gguf());
  ASSERT_TRUE(open_checkpoint(write({architecture, testing::string_key("general.type", "model")})).is_gguf());
  expect_failure(write({architecture, testing::string_key("general.type", "adapter")}),
                 "m.gguf: this file is an adapter (general.type = adapter)");
  expect_failure(write({architecture, testing::string_key("general.type", "mmproj")}), "this file is a projector");
  expect_failure(write({architecture, testing::string_key("general.type", "imatrix")}), "not a model");
  expect_failure(write({architecture, testing::string_key("adapter.type", "lora")}), "this file is an adapter");
  expect_failure(write({testing::string_key("general.architecture", "clip")}), "this file is a projector");
}

}  // namespace
}  // namespace packhorse
