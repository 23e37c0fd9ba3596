#include "app/cli/bench_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/cli/flags.h"

namespace packhorse::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

std::string error_of(const auto& action) {
  try {
    action();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    return e.what();
  }
  return "no error";
}

/// Settings as the command line gives them.
BenchSettings parse(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "some.gguf");
  CLI::App command;
  BenchSettings settings;
  add_engine_flags(command, settings.engine);
  settings.add_to(command);
  command.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  settings.finish(command);
  return settings;
}

std::vector<std::string> names(const BenchSettings& settings) {
  std::vector<std::string> out;
  for (const BenchTest& test : settings.tests()) out.push_back(test.name());
  return out;
}

TEST(BenchLists, numbers_and_ranges) {
  const auto list = [](const char* text) { return parse_number_list("-p", text, 0, 1 << 20); };
  EXPECT_THAT(list("512"), ElementsAre(512));
  EXPECT_THAT(list("0,16,1k,1K"), ElementsAre(0, 16, 1000, 1024));
  EXPECT_THAT(list("1-4"), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(list("0-512+128,7"), ElementsAre(0, 128, 256, 384, 512, 7));
  EXPECT_THAT(list("512-4096*2"), ElementsAre(512, 1024, 2048, 4096));
  EXPECT_THAT(list("1-10*4"), ElementsAre(1, 4));
}

TEST(BenchLists, refuses_what_is_no_list) {
  for (const char* bad : {"", ",", "1,", "a", "-1", "1-", "4-1", "1*2", "1+2", "1-4*1", "0-4*2", "1-4+0", "1-4*",
                          "2-1048577", "1-1001", "1 2", "1.5"}) {
    EXPECT_THAT(error_of([&] { parse_number_list("--n-prompt", bad, 0, 1 << 20); }), HasSubstr("--n-prompt: ")) << bad;
  }
}

TEST(BenchSettings, defaults_are_those_of_llama_bench) {
  const BenchSettings settings = parse({});
  EXPECT_THAT(names(settings), ElementsAre("pp512", "tg128"));
  EXPECT_THAT(settings.n_batch, ElementsAre(2048));
  EXPECT_EQ(settings.repetitions, 5);
  EXPECT_TRUE(settings.warmup);
  EXPECT_EQ(settings.format, BenchFormat::markdown);
}

TEST(BenchSettings, tests_are_all_combinations) {
  EXPECT_THAT(
      names(parse({"-p", "16,32", "-n", "0", "--pg", "8,4", "--pg", "9,5", "-d", "0,64"})),
      ElementsAre("pp16", "pp32", "pp8+tg4", "pp9+tg5", "pp16 @ d64", "pp32 @ d64", "pp8+tg4 @ d64", "pp9+tg5 @ d64"));
  const auto tests = parse({"-p", "0", "-n", "4", "-n", "5", "-s", "1,8"}).tests();
  std::vector<std::pair<int64_t, int64_t>> found;
  for (const BenchTest& test : tests) found.emplace_back(test.n_gen, test.n_sequences);
  EXPECT_THAT(found, ElementsAre(std::pair(4, 1), std::pair(5, 1), std::pair(4, 8), std::pair(5, 8)));
}

TEST(BenchSettings, other_flags) {
  const BenchSettings settings =
      parse({"--no-warmup", "-r", "3", "--delay", "2", "-t", "1,2", "-b", "64,128", "--json"});
  EXPECT_FALSE(settings.warmup);
  EXPECT_EQ(settings.repetitions, 3);
  EXPECT_EQ(settings.delay_s, 2);
  EXPECT_THAT(settings.threads, ElementsAre(1, 2));
  EXPECT_THAT(settings.n_batch, ElementsAre(64, 128));
  EXPECT_EQ(settings.format, BenchFormat::json);
  EXPECT_EQ(parse({"-o", "jsonl"}).format, BenchFormat::jsonl);
  EXPECT_EQ(parse({"--output", "csv"}).format, BenchFormat::csv);
}

TEST(BenchSettings, models_come_alone_or_after_m) {
  EXPECT_THAT(parse({"-p", "16", "b", "c"}).models, ElementsAre("some.gguf", "b", "c"));
  EXPECT_THAT(parse({"-m", "x", "--model", "y", "-n", "4", "z"}).models,
              UnorderedElementsAre("some.gguf", "z", "x", "y"));
}

TEST(BenchSettings, refuses_what_makes_no_test) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"-p", "0", "-n", "0"}, "nothing to measure"},
      {{"-d", "15"}, "--n-depth: not a multiple of 16 (got 15)"},
      {{"--pg", "8"}, "--pg: not two numbers (got '8'"},
      {{"--pg", "8,0"}, "--pg: out of range"},
      {{"-r", "0"}, "--repetitions: out of range"},
      {{"-s", "0"}, "--sequences: out of range"},
      {{"-b", "0"}, "--batch-size: out of range"},
      {{"-o", "sql"}, "--output: unknown format (got 'sql'"},
      {{"--max-model-len", "100"}, "--max-model-len: the tests of bench decide this"},
      {{"--no-enable-prefix-caching"}, "--enable-prefix-caching: the tests of bench decide this"}};
  for (const auto& [arguments, message] : cases) {
    EXPECT_THAT(error_of([&, words = arguments] { parse(words); }), HasSubstr(message));
  }
}

TEST(BenchSettings, engine_fits_all_tests) {
  BenchSettings settings = parse({"-p", "100", "-n", "7", "--pg", "50,60", "-d", "0,32", "-s", "1,4"});
  EngineOptions options = settings.engine_options("m.gguf", 3, 512);
  EXPECT_EQ(options.model, "m.gguf");
  EXPECT_EQ(options.threads, 3);
  EXPECT_EQ(options.max_num_batched_tokens, 512);
  EXPECT_EQ(options.max_num_seqs, 4);
  EXPECT_EQ(options.max_model_len, 32 + 50 + 60 + 1);
  EXPECT_TRUE(options.skip_tokenizer_init);
  EXPECT_TRUE(options.enable_prefix_caching) << "it holds the depth";
  options = parse({"-n", "7", "-p", "0"}).engine_options("m.gguf", 1, 512);
  EXPECT_EQ(options.max_model_len, 1 + 7 + 1);
  EXPECT_FALSE(options.enable_prefix_caching);
}

}  // namespace
}  // namespace packhorse::cli
