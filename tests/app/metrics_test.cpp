// Counts of HTTP answers, whose labels come from clients.
#include "app/server/metrics.h"

#include <gtest/gtest.h>

#include "app/server/access_log.h"

namespace packhorse::server {
namespace {

/// The page is too long to be shown where a test fails.
bool shows(const Metrics& metrics, std::string_view line) {
  return metrics.text({}, {}).find(line) != std::string::npos;
}

TEST(Metrics, known_labels_are_counted_when_there_is_no_room_for_more) {
  constexpr int kMany = 1000;
  Metrics metrics("tiny");
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < kMany; ++i) metrics.on_http("/" + std::to_string(i), "GET", 200, 0.2);
  }
  EXPECT_TRUE(shows(metrics, R"(http_requests_total{handler="/0",method="GET",status="2xx"} 2.0)"));
  EXPECT_TRUE(shows(metrics, R"(http_request_duration_seconds_count{handler="/0",method="GET"} 2.0)"));
  EXPECT_FALSE(shows(metrics, R"(handler="/999")"));
}

TEST(Metrics, labels_are_those_of_routes) {
  HttpRequest request;
  request.method = "PUT";
  request.path = "/items/7";
  EXPECT_EQ(handler_label(request), "other");
  EXPECT_EQ(method_label(request), "other");
  request.route = "/items/{}";
  EXPECT_EQ(handler_label(request), "/items/{}");
  EXPECT_EQ(method_label(request), "other");
  request.has_route = true;
  EXPECT_EQ(method_label(request), "PUT");
}

}  // namespace
}  // namespace packhorse::server
