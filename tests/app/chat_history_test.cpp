#include "app/cli/chat_history.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "packhorse/packhorse.h"
#include "testing.h"

namespace packhorse::cli {
namespace {

using packhorse::testing::TempDir;
using Entries = std::vector<std::string>;

mode_t mode_of(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 0777 : 0;
}

TEST(ChatHistory, entries_come_back_as_they_were) {
  const TempDir dir;
  const std::string path = dir.file("deep/er/history");
  const Entries entries = {"one", "two\nlines \\", "\"\"\"\n/x\n\"\"\"", "gr\xc3\xbc\xc3\x9f \x1b"};
  {
    ChatHistory history(path);
    EXPECT_TRUE(history.load().empty());
    for (const std::string& entry : entries) history.add(entry);
  }
  EXPECT_EQ(ChatHistory(path).load(), entries);
}

TEST(ChatHistory, only_the_owner_may_read_it) {
  const TempDir dir;
  ChatHistory(dir.file("new/history")).add("x");
  EXPECT_EQ(mode_of(dir.file("new/history")), 0600u);
  EXPECT_EQ(mode_of(dir.file("new")), 0700u);
  testing::write_text(dir.file("open"), "\"y\"\n");
  ::chmod(dir.file("open").c_str(), 0644);
  ChatHistory(dir.file("open")).add("x");
  EXPECT_EQ(mode_of(dir.file("open")), 0600u);
}

TEST(ChatHistory, its_size_has_a_limit) {
  const TempDir dir;
  const std::string path = dir.file("history");
  ChatHistory history(path);
  history.add(std::string(ChatHistory::kMaxEntryBytes + 1, 'x'));
  EXPECT_TRUE(history.load().empty());
  for (int i = 0; i < 300; ++i) history.add(std::to_string(i) + std::string(8000, 'x'));
  EXPECT_LE(std::filesystem::file_size(path), ChatHistory::kMaxFileBytes + 16000);
  EXPECT_EQ(mode_of(path), 0600u);
  const Entries entries = history.load();
  ASSERT_GT(entries.size(), 40u);
  EXPECT_EQ(entries.back().substr(0, 4), "299x");
  EXPECT_EQ(entries.front().find('x'), entries.front().size() - 8000);  // none was cut in two
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

TEST(ChatHistory, the_newest_entries_are_kept) {
  const TempDir dir;
  ChatHistory history(dir.file("history"));
  for (size_t i = 0; i < ChatHistory::kMaxEntries + 5; ++i) history.add(std::to_string(i));
  const Entries entries = history.load();
  ASSERT_EQ(entries.size(), ChatHistory::kMaxEntries);
  EXPECT_EQ(entries.front(), "5");
}

TEST(ChatHistory, damaged_lines_are_passed_over) {
  const TempDir dir;
  testing::write_text(dir.file("history"),
                      "\"a\"\nnonsense\n[1\n\"\xff\"\n{}\n\"\"\n" + std::string(9999, '[') + "\n\"b\"\n\"cut");
  EXPECT_EQ(ChatHistory(dir.file("history")).load(), (Entries{"a", "b"}));
}

TEST(ChatHistory, errors_name_the_file) {
  const TempDir dir;
  testing::write_text(dir.file("file"), "");
  for (const std::string& path : {dir.file("file/history"), dir.path().string()}) {
    try {
      ChatHistory history(path);
      FAIL() << path;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::io);
      EXPECT_NE(std::string(e.what()).find(path), std::string::npos) << e.what();
    }
  }
}

TEST(ChatHistory, place) {
  ::setenv("XDG_STATE_HOME", "/state", 1);
  EXPECT_EQ(ChatHistory::default_path(), "/state/packhorse/chat_history");
  ::setenv("XDG_STATE_HOME", "relative", 1);  // to be ignored, says the specification
  ::setenv("HOME", "/somebody", 1);
  EXPECT_EQ(ChatHistory::default_path(), "/somebody/.local/state/packhorse/chat_history");
  ::unsetenv("HOME");
  EXPECT_EQ(ChatHistory::default_path(), "");
}

}  // namespace
}  // namespace packhorse::cli
