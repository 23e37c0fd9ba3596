// Text of `inspect`: which modules become one line, and methods x devices.

#include "app/cli/inspect_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/cli/text_table.h"

namespace packhorse::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

json module(const std::string& name, const std::string& format = "gptq", uint64_t bytes = 2048) {
  return {{"name", name},         {"format", format},     {"encoding", "int4"},
          {"shape", {64, 32}},    {"bytes", bytes},       {"bits_per_weight", 4.25},
          {"shared", bytes == 0}, {"decode", "avx2.row"}, {"prefill", "avx2.row"}};
}

json info_of(json modules) {
  return {{"model", "m"},      {"architecture", "llama"}, {"quantization", "gptq"},    {"dtype", "float16"},
          {"isa", "avx2"},     {"max_model_len", 128},    {"kv_cache_dtype", "fp8"},   {"threads", 2},
          {"n_weights", 8000}, {"bits_per_weight", 4.5},  {"weight_bytes", 5u << 20u}, {"kv_cache_bytes", 1000},
          {"modules", modules}};
}

/// Cells of the lines between the titles and what follows the table.
std::vector<std::vector<std::string>> rows_of(const std::string& report) {
  std::istringstream in(report.substr(report.find("module ")));
  std::vector<std::vector<std::string>> rows;
  std::string line;
  for (std::getline(in, line); std::getline(in, line) && !line.empty();) {
    std::istringstream words(line);
    rows.emplace_back(std::istream_iterator<std::string>(words), std::istream_iterator<std::string>());
  }
  return rows;
}

TEST(InspectReport, EqualModulesOfLayersAndExpertsAreOneLine) {
  json modules = json::array();
  for (const int layer : {0, 1, 2, 4}) {
    for (const int expert : {0, 1})
      modules.push_back(module("layers." + std::to_string(layer) + ".experts." + std::to_string(expert) + ".up"));
  }
  const std::string report = model_report(info_of(modules));
  EXPECT_THAT(rows_of(report), ::testing::ElementsAre(::testing::ElementsAre("layers.0-2,4.experts.0-1.up", "8", "gptq",
                                                                             "4.25", "64x32", "16.0", "KiB", "(1)")));
  EXPECT_THAT(report, HasSubstr("\n(1) int4; avx2.row\n"));
  EXPECT_THAT(report, HasSubstr("4.50 bits per weight on average"));
  EXPECT_THAT(report, HasSubstr("in 8 modules"));
}

TEST(InspectReport, WhateverDiffersStandsApart) {
  json other_kernel = module("layers.3.up");
  other_kernel["prefill"] = "avx2.other";
  const json modules = {module("layers.0.up"), module("layers.1.up", "none"), module("layers.2.up"),
                        other_kernel,          module("layers.0.down"),       module("head", "none", 0)};
  const std::string report = model_report(info_of(modules));
  const auto rows = rows_of(report);
  ASSERT_EQ(rows.size(), 5u);
  EXPECT_EQ(rows[0][0], "layers.0,2.up");
  EXPECT_EQ(rows[1][0], "layers.1.up");
  EXPECT_EQ(rows[2].back(), "(2)");
  EXPECT_THAT(report, HasSubstr("\n(2) int4; avx2.row (prefill: avx2.other)\n"));
  EXPECT_EQ(rows[3][0], "layers.0.down");
  EXPECT_EQ(rows[4][5], "shared");
}

TEST(InspectReport, ExplainedModulesStandAlone) {
  json modules = {module("layers.0.up"), module("layers.1.up")};
  for (json& entry : modules)
    entry["candidates"] = {{{"phase", "both"}, {"kernel", "avx2.x"}, {"why_not", "4 bits only"}},
                           {{"phase", "both"}, {"kernel", "avx2.row"}, {"why_not", nullptr}}};
  const std::string report = model_report(info_of(modules));
  EXPECT_THAT(report, HasSubstr("\nlayers.0.up "));
  EXPECT_THAT(report, HasSubstr("\nlayers.1.up "));
  EXPECT_THAT(report, HasSubstr("    both avx2.x: 4 bits only\n    both avx2.row: chosen\n"));
}

TEST(InspectReport, NamesOfAFileCannotMoveTheCursor) {
  const std::string report = model_report(info_of({module("a.\x1b[2J.{}.99999999999999999999.up")}));
  EXPECT_THAT(report, Not(HasSubstr("\x1b")));
  EXPECT_THAT(report, HasSubstr("99999999999999999999.up"));
}

TEST(InspectReport, LongLinesAreBrokenAtSpaces) {
  const std::string words = wrapped("a" + std::string(60, 'b') + " " + std::string(60, 'c') + " d", 4);
  EXPECT_EQ(words, "a" + std::string(60, 'b') + "\n    " + std::string(60, 'c') + " d");
  EXPECT_EQ(wrapped(std::string(130, 'x') + " y", 2), std::string(130, 'x') + "\n  y");
}

TEST(FormatsReport, MethodsAndDevices) {
  const json method = {{"name", "nf"},
                       {"aliases", {"nf_too"}},
                       {"prequantized", true},
                       {"in_flight", true},
                       {"by_default", nullptr},
                       {"settings", {"bits", "group_size"}},
                       {"devices", {{"CPU", "runs"}, {"GPU", "not yet"}}}};
  const json info = {{"devices",
                      {{{"name", "CPU"}, {"built", {"best", "good"}}, {"usable", {"good"}}},
                       {{"name", "GPU"}, {"built", json::array()}, {"usable", json::array()}}}},
                     {"methods", {method}},
                     {"refused",
                      {{{"name", "old"}, {"why", "quantization 'old' is gone"}},
                       {{"name", "older"}, {"why", "quantization 'older' is gone"}}}}};
  EXPECT_EQ(formats_report(info),
            "CPU: built for best, good; this machine has good\n\n"
            "method  prequantized  in flight  CPU   GPU\n"
            "nf      yes           yes        runs  not yet\n"
            "    likewise nf_too\n"
            "    in flight: as its settings say\n"
            "    settings: bits, group_size\n"
            "\nrefused:\n  old, older: is gone\n");
}

}  // namespace
}  // namespace packhorse::cli
