// Errors as clients see them: OpenAI's object, and nothing in it that is not theirs (row 92 of the fault catalogue).
#include <gmock/gmock.h>

#include <cmath>
#include <new>
#include <stdexcept>

#include "app/server/api/json_text.h"
#include "app/server_testing.h"

namespace packhorse::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

template <class Exception>
ErrorAnswer described(const Exception& exception) {
  return describe_error(std::make_exception_ptr(exception));
}
Json error_of(const ErrorAnswer& answer) { return Json::parse(error_body(answer)).at("error"); }

TEST(ApiErrors, body) {
  EXPECT_EQ(error_body(HttpError(404, "no \"x\"\n", "model")),
            R"({"error":{"message":"no \"x\"\n","type":"NotFoundError","param":"model","code":404}})");
  EXPECT_EQ(error_body(HttpError(400, "bad")),
            R"({"error":{"message":"bad","type":"BadRequestError","param":null,"code":400}})");
  EXPECT_EQ(error_body(HttpError(401, "no key")),
            R"({"error":{"message":"no key","type":"AuthenticationError","param":null,"code":401}})");
  EXPECT_TRUE(Json::accept(error_body(HttpError(400, "\xff", "\xc3"))));
}

TEST(ApiErrors, engine_errors_name_the_field) {
  const struct {
    const char *message, *param;
  } cases[] = {{"top_p must be in (0, 1], got 2", "top_p"},
               {"prompt: it cannot be empty (got 0 tokens)", "prompt"},
               {"prompt_token_ids: token id 5 at index 0 is out of vocabulary", "prompt"},
               {"logprobs=21 is more than max_logprobs allows (got 21, limit 20)", "logprobs"}};
  for (const auto& [message, param] : cases) {
    const ErrorAnswer answer = described(Error(ErrorKind::request, message));
    EXPECT_EQ(answer.status, 400);
    EXPECT_EQ(error_of(answer).at("param"), param);
    EXPECT_EQ(error_of(answer).at("message"), message);
  }
  EXPECT_TRUE(error_of(described(Error(ErrorKind::request, "no such thing"))).at("param").is_null());
}

TEST(ApiErrors, fault_092_what_is_ours_stays_ours) {
  const std::string secret = "/srv/user/model.safetensors 0x7f00deadbeef";
  for (const ErrorAnswer& answer :
       {described(Error(ErrorKind::internal, secret)), described(Error(ErrorKind::model, secret)),
        described(Error(ErrorKind::io, secret)), described(std::runtime_error(secret))}) {
    EXPECT_EQ(answer.status, 500);
    EXPECT_THAT(error_body(answer), Not(HasSubstr("srv")));
    EXPECT_THAT(error_body(answer), Not(HasSubstr("0x7f")));
  }
  EXPECT_EQ(described(Error(ErrorKind::resource, "no memory")).status, 503);
  EXPECT_EQ(described(std::bad_alloc()).status, 503);
}

TEST(ApiErrors, http_errors_say_all_themselves) {
  const ErrorAnswer answer = described(HttpError(503, "full", "prompt", {{"Retry-After", "1"}}));
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(error_of(answer).at("type"), "ServiceUnavailableError");
  ASSERT_EQ(answer.headers.size(), 1u);
  EXPECT_EQ(answer.headers[0].first, "Retry-After");

  testing::RecordingReply reply;
  send_error(reply, std::make_exception_ptr(HttpError(404, "gone")));
  EXPECT_EQ(reply.status, 404);
  EXPECT_EQ(reply.body, error_body(HttpError(404, "gone")));
  EXPECT_EQ(error_events(std::make_exception_ptr(HttpError(404, "gone"))),
            "data: " + error_body(HttpError(404, "gone")) + "\n\ndata: [DONE]\n\n");
}

TEST(JsonText, strings_are_what_a_parser_reads_back) {
  std::string all;
  for (int c = 1; c < 0x80; ++c) all += static_cast<char>(c);
  for (const std::string& text : {std::string(), all, std::string("\0a", 2), std::string("é\u2028😀\"\\\n")}) {
    EXPECT_EQ(Json::parse(json_string(text)), text);
    EXPECT_EQ(json_string(text).find('\n'), std::string::npos);
  }
  EXPECT_EQ(Json::parse(safe_json_string("a\xff")), "a\ufffd");
}

TEST(JsonText, logprobs_are_finite_numbers) {
  const auto shown = [](float value) {
    std::string out;
    append_logprob(out, value);
    return out;
  };
  EXPECT_EQ(shown(-1.5f), "-1.5");
  EXPECT_EQ(shown(-INFINITY), "-9999");
  EXPECT_EQ(shown(NAN), "-9999");
  EXPECT_EQ(Json::parse(shown(-1.0e-8f)).get<float>(), -1.0e-8f);
}

}  // namespace
}  // namespace packhorse::server
