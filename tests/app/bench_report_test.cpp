#include "app/cli/bench_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "app/cli/read_bandwidth.h"

namespace packhorse::cli {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;
using ::testing::Not;

BenchSettings settings_of(BenchFormat format, std::vector<int64_t> sequences = {1}) {
  BenchSettings settings;
  settings.format = format;
  settings.n_batch = {2048};
  settings.n_sequences = std::move(sequences);
  return settings;
}

/// 64 tokens in 1 s and in 2 s.
BenchResult generation() {
  BenchResult result;
  result.model = {.file = "folder/some \"model\".gguf",
                  .architecture = "llama",
                  .quantization = "gguf (checkpoint)",
                  .dtype = "float16",
                  .kv_dtype = "bfloat16",
                  .isa = "avx2",
                  .n_params = 134'515'008,
                  .weight_bytes = 75'785'472,
                  .weight_bytes_per_step = 70'000'000,
                  .kv_bytes_per_token = 1000,
                  .kv_cache_bytes = 1 << 20,
                  .threads = 2};
  result.test = {.n_prompt = 0, .n_gen = 63, .n_depth = 16, .n_sequences = 1};
  result.n_batch = 2048;
  result.test_time = "2025-01-31T12:00:00Z";
  result.samples_ns = {1'000'000'000, 2'000'000'000};
  result.read_bandwidth = 10e9;
  return result;
}

BenchResult prompt() {
  BenchResult result = generation();
  result.test = {.n_prompt = 512, .n_gen = 0, .n_depth = 0, .n_sequences = 1};
  return result;
}

TEST(BenchStatistics, average_and_sample_deviation) {
  EXPECT_EQ(statistics({}).average, 0);
  EXPECT_EQ(statistics({5}).average, 5);
  EXPECT_EQ(statistics({5}).deviation, 0);
  const Statistics four = statistics({2, 4, 4, 6});
  EXPECT_DOUBLE_EQ(four.average, 4);
  EXPECT_DOUBLE_EQ(four.deviation, std::sqrt(8.0 / 3));
  EXPECT_NEAR(statistics({1e9 + 1, 1e9 + 3}).deviation, std::sqrt(2.0), 1e-6) << "no cancellation";
}

TEST(BenchResult, speeds_count_the_tokens_of_all_sequences) {
  BenchResult result = generation();
  EXPECT_THAT(result.speeds(), ::testing::ElementsAre(63.0, 31.5));
  result.test.n_sequences = 4;
  EXPECT_THAT(result.speeds(), ::testing::ElementsAre(252.0, 126.0));
  EXPECT_THAT(prompt().speeds(), ::testing::ElementsAre(512.0, 256.0));
}

TEST(BenchResult, bytes_of_a_token) {
  BenchResult result = generation();
  const double kv = (16 + 32) * 1000.0;  // the contexts of 63 steps are 17 to 79 positions
  EXPECT_DOUBLE_EQ(result.read_bytes_per_token(), 70e6 + kv);
  EXPECT_DOUBLE_EQ(result.read_share(), (70e6 + kv) * 47.25 / 10e9);
  result.test.n_sequences = 4;
  EXPECT_DOUBLE_EQ(result.read_bytes_per_token(), 70e6 / 4 + kv) << "one reading of the weights serves all sequences";
  EXPECT_EQ(prompt().read_bytes_per_token(), 0);
  EXPECT_EQ(prompt().read_share(), 0);
}

TEST(BenchReport, table_has_the_columns_of_llama_bench) {
  BenchReport report(settings_of(BenchFormat::markdown));
  const std::string first = report.add(prompt()), second = report.add(generation());
  EXPECT_EQ(
      first,
      "| model                          |       size |     params | backend    | threads |            test |          "
      "        t/s |\n"
      "| ------------------------------ | ---------: | ---------: | ---------- | ------: | --------------: | "
      "-------------------: |\n"
      "| llama some \"model\".gguf        |  72.27 MiB |   134.52 M | CPU        |       2 |           pp512 |      "
      "384.00 ± 181.02 |\n");
  EXPECT_THAT(second, HasSubstr("|       2 |      tg63 @ d16 |        47.25 ± 22.27 |\n"));
  EXPECT_EQ(std::count(second.begin(), second.end(), '\n'), 1) << "one head for all rows";
  const std::string end = report.finish();
  EXPECT_THAT(end,
              HasSubstr("tg63 @ d16: 70.0 MB of weights + 0.05 MB of KV cache per token at 47.2 t/s read 3.3 GB/s, "
                        "33% of the 10.0 GB/s that 2 threads read\n"));
  EXPECT_THAT(end, Not(HasSubstr("pp512"))) << "a prompt is not bound by memory";
}

TEST(BenchReport, sequences_have_a_column_when_asked_for) {
  BenchReport report(settings_of(BenchFormat::markdown, {1, 8}));
  BenchResult result = generation();
  result.test.n_sequences = 8;
  const std::string text = report.add(result);
  EXPECT_THAT(text, HasSubstr("| threads | sequences |"));
  EXPECT_THAT(text, HasSubstr("|       2 |         8 |      tg63 @ d16 |"));
  EXPECT_THAT(report.finish(), HasSubstr("tg63 @ d16 of 8 sequences: 8.8 MB of weights"));
}

TEST(BenchReport, json_is_one_array_with_the_fields_of_llama_bench) {
  BenchReport report(settings_of(BenchFormat::json));
  std::string text = report.add(prompt());
  text += report.add(generation());
  text += report.finish();
  const auto tests = ordered_json::parse(text);
  ASSERT_EQ(tests.size(), 2u);
  for (const char* key :
       {"build_commit", "build_number", "cpu_info",   "gpu_info",     "backends",       "model_filename", "model_type",
        "model_size",   "n_batch",      "n_ubatch",   "n_threads",    "model_n_params", "type_k",         "type_v",
        "n_prompt",     "n_gen",        "n_depth",    "test_time",    "avg_ns",         "stddev_ns",      "avg_ts",
        "stddev_ts",    "samples_ns",   "samples_ts", "n_gpu_layers", "n_sequences",    "read_share"}) {
    EXPECT_TRUE(tests[0].contains(key)) << key;
  }
  const auto& test = tests[1];
  EXPECT_EQ(test["model_filename"], "folder/some \"model\".gguf");
  EXPECT_EQ(test["model_size"], 75'785'472);
  EXPECT_EQ(test["type_k"], "bf16");
  EXPECT_EQ(test["avg_ns"], 1'500'000'000);
  EXPECT_EQ(test["stddev_ns"], 707'106'781);
  EXPECT_EQ(test["avg_ts"], 47.25);
  EXPECT_EQ(test["samples_ns"], ordered_json({1'000'000'000, 2'000'000'000}));
  EXPECT_EQ(test["samples_ts"], ordered_json({63.0, 31.5}));
  EXPECT_EQ(test["read_bandwidth"], 10e9);
  EXPECT_TRUE(tests[0]["read_share"].is_null());
}

TEST(BenchReport, lines_and_values) {
  BenchReport lines(settings_of(BenchFormat::jsonl));
  const std::string line = lines.add(prompt());
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  EXPECT_EQ(ordered_json::parse(line)["n_prompt"], 512);
  EXPECT_EQ(lines.finish(), "");

  BenchReport values(settings_of(BenchFormat::csv));
  const std::string first = values.add(prompt()), second = values.add(generation());
  EXPECT_TRUE(first.starts_with("build_commit,build_number,cpu_info,"));
  EXPECT_THAT(first, Not(HasSubstr("samples")));
  EXPECT_THAT(first, HasSubstr("\"folder/some \"\"model\"\".gguf\""));
  EXPECT_EQ(std::count(first.begin(), first.end(), '\n'), 2);
  EXPECT_EQ(std::count(second.begin(), second.end(), '\n'), 1);
}

TEST(ReadBandwidth, reads_with_any_number_of_threads) {
  for (const int threads : {1, 2, 3}) {
    const double bandwidth = measure_read_bandwidth(threads, size_t{3} << 20);
    EXPECT_GT(bandwidth, 0) << threads;
    EXPECT_TRUE(std::isfinite(bandwidth)) << threads;
  }
}

}  // namespace
}  // namespace packhorse::cli
