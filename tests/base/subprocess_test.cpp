#include "base/subprocess.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "base/error.h"
#include "testing.h"

namespace packhorse {
namespace {

TEST(Subprocess, status_and_error_text) {
  const ProcessResult result = run_process({"sh", "-c", "echo out; echo problem >&2; exit 7"});
  EXPECT_EQ(result.status, 7);
  EXPECT_EQ(result.error_text, "problem\n");
}

TEST(Subprocess, arguments_are_not_a_shells) {
  const ProcessResult result = run_process({"sh", "-c", "printf %s \"$1\" >&2", "name", "a b; $(exit 3) 'c'"});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.error_text, "a b; $(exit 3) 'c'");
}

TEST(Subprocess, end_by_a_signal) { EXPECT_EQ(run_process({"sh", "-c", "kill -9 $$"}).status, 128 + SIGKILL); }

TEST(Subprocess, input_is_empty) { EXPECT_EQ(run_process({"sh", "-c", "! read line"}).status, 0); }

TEST(Subprocess, keeps_the_end_of_a_long_error) {
  const ProcessResult result = run_process({"sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x >&2; echo end >&2"});
  EXPECT_LE(result.error_text.size(), size_t{200'000});
  EXPECT_TRUE(result.error_text.ends_with("xend\n"));
}

TEST(Subprocess, an_ignored_pipe_signal_is_not_inherited) {
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  EXPECT_EQ(run_process({"sh", "-c", "kill -PIPE $$; exit 0"}).status, 128 + SIGPIPE);
  std::signal(SIGPIPE, before);
}

/// Ctrl-C ends the command line at once; what it runs must not go on in the background.
TEST(Subprocess, ends_with_its_parent) {
  const testing::TempDir folder;
  const std::string pid_file = folder.file("pid");
  const pid_t parent = ::fork();
  ASSERT_GE(parent, 0);
  if (parent == 0) {
    std::signal(SIGINT, SIG_IGN);  // as a shell's background jobs have it
    run_process({"sh", "-c", "echo $$ >\"$1.new\"; mv \"$1.new\" \"$1\"; exec sleep 60", "name", pid_file});
    ::_exit(0);
  }
  const auto wait_until = [](auto&& done) {
    for (int i = 0; i < 1000 && !done(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return done();
  };
  ASSERT_TRUE(wait_until([&] { return std::filesystem::exists(pid_file); }));
  const pid_t child = std::stoi(testing::read_text(pid_file));
  ASSERT_EQ(::kill(child, 0), 0);
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  // Somebody else's to wait for now: gone, or a zombie.
  const auto ended = [&] {
    const std::string stat = testing::read_text(fmt::format("/proc/{}/stat", child));
    return stat.empty() || stat.find(") Z ") != stat.npos;
  };
  EXPECT_TRUE(wait_until(ended));
}

TEST(Subprocess, missing_program) {
  try {
    run_process({"packhorse-no-such-program"});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::io);
    EXPECT_NE(std::string(e.what()).find("packhorse-no-such-program"), std::string::npos);
  }
}

}  // namespace
}  // namespace packhorse
