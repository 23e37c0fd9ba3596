// Row 77 of the fault catalogue: bodies that are no JSON, or more of it than a server should take.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "app/server_testing.h"

namespace packhorse::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::json_request;
using testing::refusal;

HttpError refused(const std::string& body) {
  return refusal([&] { parse_body(json_request(body)); });
}

TEST(RequestBody, keeps_order_numbers_and_texts) {
  const Json body = parse_body(json_request(R"({"b": 1, "a": [2.5, "\u00e9", null, true], "c": {"z": -3, "y": {}}})"));
  EXPECT_EQ(body.dump(), R"({"b":1,"a":[2.5,"é",null,true],"c":{"z":-3,"y":{}}})");
  EXPECT_TRUE(parse_body(json_request(" {}\n")).empty());
}

TEST(RequestBody, fault_077_malformed_bodies_name_the_byte) {
  const struct {
    std::string body, message;
  } cases[] = {
      {"", "body: byte 0"},
      {"{", "body: byte 0"},
      {R"({"a": 1,})", "body: byte 8"},
      {R"({"a": 1} {})", "body: byte 9"},
      {"\xef\xbb\xbf{}", "byte 0: byte order mark"},
      {"{\"a\": \"\xff\"}", "body: byte 7"},
      {"{\"a\": \"\xed\xa0\x80\"}", "body: byte 8"},
      {std::string("{}\0", 3), "byte 2: NUL"},
      {"[1]", "must be a JSON object"},
      {"\"text\"", "must be a JSON object"},
      {R"({"a": 01})", "body: byte 8: unexpected number literal; expected }"},
      {R"({"a": 1, "b": 2, "a": 3})", "body: byte 23: duplicate key 'a'"},
      {R"({"x": {"a": 1, "a": 1}})", "duplicate key 'a'"},
  };
  for (const auto& [body, message] : cases) {
    const HttpError error = refused(body);
    EXPECT_EQ(error.status, 400) << body;
    EXPECT_THAT(error.message, HasSubstr(message)) << body;
  }
}

TEST(RequestBody, fault_078_numbers_that_json_has_not_name_the_field) {
  for (const char* value : {"NaN", "1e999", "-Infinity", "+1", "[1, NaN]", "{\"deep\": NaN}"}) {
    const HttpError error = refused(fmt::format(R"({{"model": "m", "temperature": {}}})", value));
    EXPECT_EQ(error.status, 400) << value;
    EXPECT_EQ(error.param, "temperature") << value;
  }
  EXPECT_FALSE(refused(R"({"temperature": 1, NaN})").param);
}

TEST(RequestBody, fault_077_depth_members_and_values_are_limited) {
  const auto nested = [](size_t depth) { return R"({"a":)" + std::string(depth, '[') + std::string(depth, ']') + "}"; };
  EXPECT_NO_THROW(parse_body(json_request(nested(63))));
  EXPECT_THAT(refused(nested(64)).message, HasSubstr("nested deeper than 64"));
  EXPECT_EQ(refused(nested(3000)).param, "a");
  EXPECT_EQ(refused(std::string(1 << 20, '[')).status, 400);

  std::string keys = "{";
  for (int i = 0; i < 1'000'000; ++i) keys += fmt::format(R"({}"k{}":0)", i ? "," : "", i);
  EXPECT_THAT(refused(keys + "}").message, AllOf(HasSubstr("body: byte "), HasSubstr("members")));
}

/// A list of as many elements as fill `n_bytes`.
std::string list_of(std::string_view element, size_t n_bytes) {
  std::string list = R"({"a": [)";
  while (list.size() + element.size() < n_bytes) list.append(element).push_back(',');
  return list.append(element) + "]}";
}

TEST(RequestBody, fault_077_what_values_take_is_limited) {
  constexpr size_t kLargest = 32 << 20;
  for (const char* element : {"1", "{}", "[]", "\"\"", R"({"":0})", R"({"role":"user","content":"x"})", "[[[[]]]]"}) {
    const std::string body = list_of(element, kLargest);
    [[maybe_unused]] const long before = ::packhorse::testing::peak_kib(true);
    const HttpError error = refused(body);
    EXPECT_EQ(error.status, 400) << element;
    EXPECT_EQ(error.param, "a");
    EXPECT_THAT(error.message, AllOf(HasSubstr("body: byte "), HasSubstr("more than 64 MB of memory"))) << element;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (before >= 0) {
      EXPECT_LT(::packhorse::testing::peak_kib(false) - before, 160 << 10) << element;
    }
#endif
  }
}

TEST(RequestBody, large_requests_that_make_sense_are_taken) {
  const auto count = [](const std::string& body) { return parse_body(json_request(body)).at("a").size(); };
  EXPECT_EQ(count(list_of("128255", 128 * 1024 * 7)), 128u * 1024);  // token ids
  std::string prompt = "[";
  for (int i = 0; i < 2048; ++i) prompt += "50000,";
  prompt.back() = ']';
  EXPECT_GE(count(list_of(prompt, (1024 * (prompt.size() + 1)))), 1023u);  // a batch of them
  EXPECT_EQ(count("{\"a\": \"" + std::string(100 << 20, 'x') + "\"}"), 1u);
  std::string biases = R"({"a": {)";
  for (int i = 0; i < 262'144; ++i) biases += fmt::format(R"({}"{}":-100)", i ? "," : "", i);
  EXPECT_EQ(count(biases + "}}"), 262'144u);
}

TEST(RequestBody, an_object_read_by_names_has_few_of_them) {
  Json object = Json::object();
  for (int i = 0; i < 1025; ++i) object.push_back({fmt::format("k{}", i), 0});
  EXPECT_EQ(refusal([&] { Fields{object}; }).status, 400);
}

TEST(RequestBody, only_json_as_it_is) {
  HttpRequest request = json_request("{}");
  for (const char* type : {"application/json", "Application/JSON; charset=utf-8", "application/json ;x=y"}) {
    request.headers = {{"content-type", type}};
    EXPECT_NO_THROW(parse_body(request)) << type;
  }
  for (const char* type : {"text/plain", "application/jsonl", "application/jso", "multipart/form-data"}) {
    request.headers = {{"content-type", type}};
    EXPECT_EQ(refusal([&] { parse_body(request); }).status, 415) << type;
  }
}

}  // namespace
}  // namespace packhorse::server
