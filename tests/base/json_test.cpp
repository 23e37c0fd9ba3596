#include "base/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <ctime>

#include "base/error.h"

namespace packhorse {
namespace {

/// Message of the Error{model} that parsing throws; empty when it does not throw.
std::string parse_failure(std::string_view text) {
  try {
    parse_json(text, "x.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::model);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return error.what();
  }
  return "";
}

TEST(ParseJson, builds_every_kind_of_value) {
  const Json json = parse_json(R"( {"b": [1, -2, 2.5, true, false, null, "\u00e9\n"], "a": {"": {}}, "c": []} )", "x");
  EXPECT_EQ(json["b"], Json::parse(R"([1, -2, 2.5, true, false, null, "é\n"])"));
  EXPECT_EQ(json["a"][""], Json::object());
  EXPECT_EQ(json["c"], Json::array());
  EXPECT_EQ(parse_json("7", "x"), 7);
  EXPECT_EQ(parse_json("18446744073709551615", "x").get<uint64_t>(), UINT64_MAX);
}

TEST(ParseJson, rejects_bad_text_and_tells_the_byte) {
  EXPECT_EQ(parse_failure("").substr(0, 15), "x.json: byte 0:");
  EXPECT_EQ(parse_failure("[1,]").substr(0, 15), "x.json: byte 3:");
  EXPECT_EQ(parse_failure("{} x").substr(0, 15), "x.json: byte 3:");
  EXPECT_EQ(parse_failure("{}{}").substr(0, 15), "x.json: byte 2:");
  EXPECT_EQ(parse_failure("[\"\xff\"]"), "x.json: byte 2: invalid string: ill-formed UTF-8 byte");
  EXPECT_EQ(parse_failure("[\"\xed\xa0\x80\"]").substr(0, 15), "x.json: byte 3:");
  EXPECT_EQ(parse_failure(std::string_view("{}\0", 3)), "x.json: byte 2: NUL");
  EXPECT_EQ(parse_failure(std::string_view("\"a\0b\"", 5)), "x.json: byte 2: NUL");
  EXPECT_EQ(parse_failure("\xef\xbb\xbf{}"), "x.json: byte 0: byte order mark");
  for (const char* text : {"NaN", "[Infinity]", "{'a': 1}", "{\"a\" 1}", "{a: 1}", "[01]", "[+1]", "[.5]", "// c\n1",
                           "\"\\x\"", "\"\\ud800\"", "[\"a\nb\"]", "[", "{\"a\":", "nul"}) {
    EXPECT_NE(parse_failure(text), "") << text;
  }
}

TEST(ParseJson, messages_do_not_repeat_long_input) {
  EXPECT_LT(parse_failure("[\"" + std::string(100'000, 'a') + "\x1b").size(), 300u);
  EXPECT_LT(parse_failure("[" + std::string(5000, '9') + "e999]").size(), 300u);
}

TEST(ParseJson, rejects_duplicate_keys_at_any_depth) {
  EXPECT_EQ(parse_failure(R"({"a": 1, "b": 2})"), "");
  EXPECT_EQ(parse_failure(R"({"b": 1, "a": 1, "b": 2})"), "x.json: duplicate key 'b'");
  EXPECT_EQ(parse_failure(R"([{"shape": [], "shape": []}])"), "x.json: duplicate key 'shape'");
  EXPECT_EQ(parse_failure(R"({"a": 1, "\u0061": 2})"), "x.json: duplicate key 'a'");
}

TEST(ParseJson, depth_limit_counts_containers) {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(parse_failure(nested(64)), "");
  EXPECT_EQ(parse_failure(nested(65)), "x.json: nested deeper than 64 levels");
  EXPECT_EQ(parse_failure(std::string(3'000'000, '[')), "x.json: nested deeper than 64 levels");
  EXPECT_THROW(parse_json("[[[]]]", "x", 2), Error);
}

TEST(ParseJson, number_of_values_is_limited) {
  EXPECT_EQ(parse_json(R"([1, {"a": 2}])", "x", 64, 4).size(), 2u);  // the array, 1, the object, 2
  EXPECT_THROW(parse_json(R"([1, {"a": 2}])", "x", 64, 3), Error);
}

TEST(ParseJson, unsigned_integers_are_told_from_other_numbers) {
  const auto parsed = [](std::string_view text) { return as_unsigned(parse_json(text, "x")); };
  EXPECT_EQ(parsed("0"), 0u);
  EXPECT_EQ(parsed("18446744073709551615"), UINT64_MAX);
  for (const char* text : {"-0", "-1", "1.0", "1.5", "1e3", "18446744073709551616", "12345678901234567890123", "\"1\"",
                           "true", "null", "[1]"}) {
    EXPECT_EQ(parsed(text), std::nullopt) << text;
  }
  EXPECT_NE(parse_failure("[1e999]").find("byte 5: number '1e999' is too large"), std::string::npos);
  EXPECT_NE(parse_failure("[1e999]").find("not an unsigned integer"), std::string::npos) << parse_failure("[1e999]");
  try {
    require_unsigned(parse_json("[1, 2]", "x"), "m: shape[0]");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "m: shape[0]: not an unsigned integer (got an array of 2)");
  }
}

TEST(FindMember, null_and_absent_are_alike) {
  const Json json = parse_json(R"({"a": null, "b": 0})", "x");
  EXPECT_EQ(find_member(json, "a"), nullptr);
  EXPECT_EQ(find_member(json, "c"), nullptr);
  EXPECT_EQ(find_member(json["b"], "c"), nullptr);
  ASSERT_NE(find_member(json, "b"), nullptr);
  EXPECT_EQ(*find_member(json, "b"), 0);
}

TEST(Preview, is_short_and_printable) {
  EXPECT_EQ(preview(Json("a\x1b" + std::string(1000, 'b'))).size(), 2 + 1 + 4 + 78 + 3u);
  EXPECT_EQ(preview(Json::parse("[[], {}]")), "an array of 2");
  EXPECT_EQ(preview(-0.5), "-0.5");
  EXPECT_EQ(preview(NAN), "null");
}

TEST(ParseJson, large_vocabularies_are_quick) {
  std::string text = "{";
  for (int i = 0; i < 300'000; ++i) text += fmt::format("\"\\u0120{:x}\": {},\n", i * 2654435761u, i);
  text += "\"\": 0}";
  const std::clock_t start = std::clock();  // other processes do not count
  EXPECT_EQ(parse_json(text, "x").size(), 300'001u);
  EXPECT_LT(std::clock() - start, 5 * CLOCKS_PER_SEC);  // 0.1 s; far more if quadratic
}

}  // namespace
}  // namespace packhorse
