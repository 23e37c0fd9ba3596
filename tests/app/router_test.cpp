#include "app/server/http/router.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/server/http/http_error.h"

namespace packhorse::server {
namespace {

Router router_of(const std::vector<std::pair<std::string, std::string>>& routes) {
  Router router;
  for (const auto& [method, path] : routes) router.add({.method = method, .path = path, .handler = {}});
  return router;
}

TEST(Router, LiteralsGoBeforeOpenSegments) {
  const Router router =
      router_of({{"GET", "/v1/{...}"}, {"GET", "/v1/{}/parts"}, {"GET", "/v1/all/parts"}, {"GET", "/"}});
  EXPECT_EQ(router.find("GET", "/").route->path, "/");
  EXPECT_EQ(router.find("GET", "/v1/all/parts").route->path, "/v1/all/parts");
  EXPECT_EQ(router.find("GET", "/v1/7/parts").route->path, "/v1/{}/parts");
  EXPECT_EQ(router.find("GET", "/v1/7/parts").parameters, std::vector<std::string>{"7"});
  EXPECT_EQ(router.find("GET", "/v1/7/parts/x").parameters, std::vector<std::string>{"7/parts/x"});
  for (const std::string_view unknown : {"/v1", "/v1/", "/v2", "//", "*", "/v1x"}) {
    EXPECT_EQ(router.find("GET", unknown).route, nullptr) << unknown;
    EXPECT_TRUE(router.find("GET", unknown).allowed.empty()) << unknown;
  }
}

TEST(Router, SaysWhichMethodsThereAre) {
  const Router router = router_of({{"POST", "/a"}, {"GET", "/a"}, {"DELETE", "/{}"}});
  EXPECT_EQ(router.find("HEAD", "/a").route->method, "GET");
  EXPECT_EQ(router.find("DELETE", "/a").route->path, "/{}");
  EXPECT_EQ(router.find("PUT", "/a").allowed, (std::vector<std::string>{"POST", "GET", "HEAD", "DELETE"}));
}

TEST(Router, TellsThePatternOfAPath) {
  const Router router = router_of({{"GET", "/v1/{id}"}, {"POST", "/v1/{id}/cancel"}, {"GET", "/all/{rest...}"}});
  EXPECT_EQ(router.find("GET", "/v1/7").pattern, "/v1/{id}");
  EXPECT_EQ(router.find("PUT", "/v1/7").pattern, "/v1/{id}");  // whatever the method
  EXPECT_EQ(router.find("POST", "/v1/7/cancel").pattern, "/v1/{id}/cancel");
  EXPECT_EQ(router.find("POST", "/v1/7/cancel").parameters, std::vector<std::string>{"7"});
  EXPECT_EQ(router.find("GET", "/all/a/b").pattern, "/all/{rest...}");
  EXPECT_EQ(router.find("GET", "/all/a/b").parameters, std::vector<std::string>{"a/b"});
  EXPECT_EQ(router.find("GET", "/v1").pattern, "");
  const Router two = router_of({{"POST", "/a"}, {"GET", "/{id}"}});
  EXPECT_EQ(two.find("GET", "/a").pattern, "/{id}");  // that of the route
}

TEST(Router, TakesTargetsApart) {
  EXPECT_EQ(parse_target("/a%2fb%20c?x=%20", "").path, "/a/b c");
  EXPECT_EQ(parse_target("/a?x=%20?y", "").query, "x=%20?y");
  EXPECT_EQ(parse_target("http://host:80/a", "").path, "/a");
  EXPECT_EQ(parse_target("/api/v1", "/api").path, "/v1");
  EXPECT_EQ(parse_target("/api", "/api").path, "/");
  EXPECT_TRUE(parse_target("/api", "/api").is_bare_root);
  EXPECT_FALSE(parse_target("/api/", "/api").is_bare_root);
  EXPECT_FALSE(parse_target("/", "").is_bare_root);
  EXPECT_EQ(parse_target("/apis", "/api").path, "/apis");
  EXPECT_EQ(parse_target("/v1", "/api").path, "/v1");
  for (const std::string_view wrong : {"", "a", "/%", "/%4", "/%zz", "/%00", "/a#b", "http://host", "ftp://host/"}) {
    EXPECT_THROW(parse_target(wrong, ""), HttpError) << wrong;
  }
}

}  // namespace
}  // namespace packhorse::server
