#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.h"
#include "engine/hub/url.h"

namespace packhorse::hub {
namespace {

std::string text_of(const std::optional<Url>& url) { return url ? url->text() : "none"; }

TEST(HubUrl, addresses) {
  EXPECT_EQ(text_of(parse_url("https://Host.example")), "https://host.example/");
  EXPECT_EQ(text_of(parse_url("HTTP://host:8080/a/b?c=d#e")), "http://host:8080/a/b?c=d");
  EXPECT_EQ(text_of(parse_url("https://host:443?x")), "https://host/?x");
  EXPECT_EQ(text_of(parse_url("http://[::1]:80/a b\n\xc3\xa4")), "http://[::1]/a%20b%0A%C3%A4");
  for (const char* text : {"", "host", "ftp://host", "https://", "https://:80", "https://user:pw@host/", "https://a b/",
                           "https://host:0/", "https://host:65536/", "https://host:80x/", "https://host:/",
                           "https://[::1", "https://[]/", "https://host\r\nX: y/", "http:/host", "https//host"}) {
    EXPECT_EQ(text_of(parse_url(text)), "none") << text;
  }
  EXPECT_EQ(text_of(parse_url("https://host/" + std::string(20'000, 'a'))), "none");
}

TEST(HubUrl, redirects) {
  const Url base = *parse_url("https://host:8443/a/b?c");
  EXPECT_EQ(text_of(follow_location(base, "/x?y")), "https://host:8443/x?y");
  EXPECT_EQ(text_of(follow_location(base, "x")), "https://host:8443/a/x");
  EXPECT_EQ(text_of(follow_location(base, "?q")), "https://host:8443/a/b?q");
  EXPECT_EQ(text_of(follow_location(base, "//other/x")), "https://other/x");
  EXPECT_EQ(text_of(follow_location(base, "http://other/x")), "http://other/x");
  EXPECT_EQ(text_of(follow_location(base, "javascript:x")), "none");
  EXPECT_EQ(text_of(follow_location(base, "")), "none");
  EXPECT_TRUE(is_relative_location("/x:y") && is_relative_location("a/b"));
  EXPECT_FALSE(is_relative_location("//host/x") || is_relative_location("https://host/"));
}

TEST(HubUrl, origins) {
  const Url url = *parse_url("https://host/a");
  EXPECT_TRUE(url.same_origin(*parse_url("https://HOST:443/b")));
  for (const char* other : {"http://host/a", "https://host:8443/a", "https://host.example/a", "https://sub.host/a"}) {
    EXPECT_FALSE(url.same_origin(*parse_url(other))) << other;
  }
}

TEST(HubUrl, escapes) {
  EXPECT_EQ(escape_path("a/b c?#%\xc3\xa4~"), "a/b%20c%3F%23%25%C3%A4~");
  EXPECT_EQ(escape_path("refs/pr/1", false), "refs%2Fpr%2F1");
}

class HubProxy : public ::testing::Test {
 protected:
  void SetUp() override { TearDown(); }
  void TearDown() override {
    for (const char* name : {"https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"}) ::unsetenv(name);
  }
  static std::string proxy(const std::string& url) {
    const std::optional<Proxy> found = proxy_for(*parse_url(url));
    return found ? fmt::format("{}:{} {}", found->host, found->port, found->credentials) : "none";
  }
};

TEST_F(HubProxy, of_the_environment) {
  EXPECT_EQ(proxy("https://host/"), "none");
  ::setenv("HTTPS_PROXY", "http://p.example:3128/", 1);
  EXPECT_EQ(proxy("https://host/"), "p.example:3128 ");
  EXPECT_EQ(proxy("http://host/"), "none");
  ::setenv("https_proxy", "user:p@ss@q.example:8080", 1);
  EXPECT_EQ(proxy("https://host/"), "q.example:8080 user:p@ss");
  for (const char* value : {"socks5://p:1", "https://p:1", "http://", "http://a b"}) {
    ::setenv("https_proxy", value, 1);
    EXPECT_THROW(proxy("https://host/"), Error) << value;
  }
}

TEST_F(HubProxy, exceptions) {
  ::setenv("https_proxy", "http://p", 1);
  ::setenv("NO_PROXY", "localhost, .inner.example,*.star.example,plain.example,ported.example:8443", 1);
  for (const char* url : {"https://localhost/", "https://a.inner.example/", "https://b.star.example/",
                          "https://plain.example/", "https://a.plain.example/", "https://ported.example:8443/"}) {
    EXPECT_EQ(proxy(url), "none") << url;
  }
  for (const char* url :
       {"https://host/", "https://notplain.example/", "https://ported.example/", "https://xlocalhost/"}) {
    EXPECT_EQ(proxy(url), "p:80 ") << url;
  }
  ::setenv("no_proxy", "*", 1);
  EXPECT_EQ(proxy("https://host/"), "none");
}

}  // namespace
}  // namespace packhorse::hub
