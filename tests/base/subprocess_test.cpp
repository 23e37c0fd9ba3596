#include "base/subprocess.h"

#include <gtest/gtest.h>

#include <csignal>

#include "base/error.h"

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
