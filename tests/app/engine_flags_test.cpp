#include "app/engine_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "app/cli/terminal.h"

namespace packhorse::app {
namespace {

using ::testing::HasSubstr;

TEST(EngineFlags, names_are_distinct_and_defaults_in_range) {
  EngineOptions options;
  std::set<std::string> names;
  visit_flags(options, [&](const Flag& flag, auto& member) {
    EXPECT_TRUE(names.insert(flag.python_name()).second) << flag.name;
    EXPECT_FALSE(flag.help.empty()) << flag.name;
    using Member = std::remove_reference_t<decltype(member)>;
    if constexpr (std::is_arithmetic_v<Member> && !std::is_same_v<Member, bool>) {
      EXPECT_LT(flag.min, flag.max) << flag.name;
      if (flag.unset.empty()) {
        EXPECT_NO_THROW(check_range(flag, flag.name, member));
      }
    }
  });
  EXPECT_EQ(names.size(), 31u);
}

TEST(EngineFlags, spellings) {
  const Flag flag{.name = "max-model-len"};
  EXPECT_EQ(flag.long_name(), "--max-model-len");
  EXPECT_EQ(flag.python_name(), "max_model_len");
  EXPECT_EQ(flag.variable(), "PACKHORSE_MAX_MODEL_LEN");
}

TEST(EngineFlags, counts) {
  EXPECT_EQ(parse_count("1k"), 1000);
  EXPECT_EQ(parse_count("1K"), 1024);
  EXPECT_EQ(parse_count("25.6k"), 25600);
  EXPECT_EQ(parse_count("16.1k"), 16100);
  EXPECT_EQ(parse_count("2.01k"), 2010);
  EXPECT_EQ(parse_count("2M"), 2 << 20);
  EXPECT_EQ(parse_count("-1"), -1);
  for (const char* bad : {"", "k", "1e3", "1.5", "1kk", " 1", "1 ", "0x10", "nan", "inf", "--1", "1.0001k"}) {
    EXPECT_EQ(parse_count(bad), std::nullopt) << bad;
  }
}

template <class T>
std::string error_of(std::string_view text, T value) {
  try {
    set_from_text(Flag{.min = 1, .max = 10}, "--flag", text, value);
    return "";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    return e.what();
  }
}

TEST(EngineFlags, fault_122_values) {
  EXPECT_EQ(error_of("10", int64_t{}), "");
  EXPECT_THAT(error_of("11", int64_t{}), HasSubstr("--flag: out of range (got 11, allowed 1 to 10)"));
  EXPECT_THAT(error_of("0", int{}), HasSubstr("got 0, allowed 1 to 10"));
  EXPECT_THAT(error_of("-1", uint64_t{}), HasSubstr("got -1"));
  EXPECT_THAT(error_of("x\n", int{}), HasSubstr("'x\\x0a'"));
  EXPECT_EQ(error_of("1.5", double{}), "");
  EXPECT_THAT(error_of("nan", double{}), HasSubstr("out of range"));
  EXPECT_THAT(error_of("1.5x", double{}), HasSubstr("not a number"));
  EXPECT_EQ(error_of("off", bool{}), "");
  EXPECT_THAT(error_of("maybe", bool{}), HasSubstr("not true or false"));
  EXPECT_THAT(error_of("", std::string{}), HasSubstr("empty"));
}

TEST(EngineFlags, a_given_flag_beats_the_environment) {
  ::setenv("PACKHORSE_MAX_NUM_SEQS", "7", 1);
  ::setenv("PACKHORSE_DTYPE", "float32", 1);
  ::setenv("PACKHORSE_ISA", "", 1);
  EngineOptions options;
  options.dtype = "float16";
  apply_environment(options, [](const Flag& flag) { return flag.name == "dtype"; });
  EXPECT_EQ(options.max_num_seqs, 7);
  EXPECT_EQ(options.dtype, "float16");
  EXPECT_EQ(options.isa, "");
  for (const char* name : {"PACKHORSE_MAX_NUM_SEQS", "PACKHORSE_DTYPE", "PACKHORSE_ISA"}) ::unsetenv(name);
}

TEST(EngineFlags, what_this_build_cannot_do) {
  const auto kind_of = [](const EngineOptions& options) {
    try {
      check_supported(options);
    } catch (const Error& e) {
      return std::optional(e.kind());
    }
    return std::optional<ErrorKind>();
  };
  EngineOptions options;
  EXPECT_EQ(kind_of(options), std::nullopt);
  options.device = "cuda:9";
  EXPECT_EQ(kind_of(options), ErrorKind::resource);
  options.device = "tpu";
  EXPECT_EQ(kind_of(options), ErrorKind::usage);
  options.device = "cpu";
  options.tensor_parallel_size = 2;
  EXPECT_EQ(kind_of(options), ErrorKind::usage);
}

TEST(Terminal, generated_text_cannot_control_it) {
  EXPECT_EQ(cli::without_controls("a\tb\n\x1b[31mc\r\x7f"), "a\tb\n[31mc");
  EXPECT_EQ(cli::without_controls("\xc2\x9b"
                                  "1m\xc2\xa9\xc3\xa9\xc2"),
            "1m\xc2\xa9\xc3\xa9\xc2");
}

}  // namespace
}  // namespace packhorse::app
