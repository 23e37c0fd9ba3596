// Row 70 of the fault catalogue, of many bodies: what they take together is limited, and small ones get through.

#include <gtest/gtest.h>

#include "http_client.h"

namespace packhorse::server::testing {
namespace {

constexpr size_t kMega = 1 << 20;

HttpOptions three_megabytes() {
  HttpOptions options = local_options();
  options.limits.max_body_bytes = 2 * kMega;
  options.limits.max_bodies_bytes = 3 * kMega;
  return options;
}

/// A server where 2 MB of 3 are taken by a body that is not complete.
struct BusyServer : TestServer {
  BusyServer() : TestServer(three_megabytes()), first(connect()) {
    first.send(post("/echo", std::string(2 * kMega, 'a')).substr(0, 2 * kMega));
    EXPECT_TRUE(wait_until([&] { return server.num_body_bytes() > static_cast<int64_t>(2 * kMega - 100); }));
  }
  Client first;
};

void expect_no_room(const Answer& answer) {
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.headers.at("retry-after"), "1");
  EXPECT_EQ(answer.headers.at("connection"), "close");
  EXPECT_NE(answer.body.find("\"type\":\"ServiceUnavailableError\""), std::string::npos) << answer.body;
  EXPECT_NE(answer.body.find("--max-bodies-mb"), std::string::npos) << answer.body;
}

TEST(BodyBudget, fault_070_what_is_too_much_is_refused_before_it_is_read) {
  BusyServer server;
  Client second = server.connect();
  second.send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n");
  expect_no_room(second.read_answer());
  EXPECT_TRUE(second.is_closed());
}

TEST(BodyBudget, fault_070_chunks_are_refused_once_they_are_too_many) {
  BusyServer server;
  Client second = server.connect();
  second.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
  for (int i = 0; i < 20; ++i) second.send(chunk);
  expect_no_room(second.read_answer());
  EXPECT_TRUE(second.is_closed());
  EXPECT_TRUE(wait_until([&] { return server.server.num_body_bytes() < static_cast<int64_t>(2 * kMega); }));
}

TEST(BodyBudget, fault_070_small_bodies_and_those_that_fit_get_through) {
  BusyServer server;
  Client hog = server.connect();  // takes what is left but for a little
  hog.send(post("/echo", std::string(kMega - 1000, 'b')).substr(0, kMega - 1100));
  EXPECT_TRUE(wait_until([&] { return server.server.num_body_bytes() > static_cast<int64_t>(3 * kMega - 2000); }));
  EXPECT_EQ(server.ask(post("/echo", "small")).body, "small");
  EXPECT_EQ(server.ask(post("/echo", std::string(64 << 10, 'x'))).status, 200);
  expect_no_room(server.ask(post("/echo", std::string((64 << 10) + 1, 'x'))));
  server.first.send(std::string(200, 'a'));
  const Answer answer = server.first.read_answer();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body.size(), 2 * kMega);
  EXPECT_TRUE(wait_until([&] { return server.server.num_body_bytes() < static_cast<int64_t>(2 * kMega); }));
  EXPECT_EQ(server.ask(post("/echo", std::string(kMega, 'x'))).status, 200);  // there is room again
}

TEST(BodyBudget, announced_bodies_take_nothing) {
  TestServer server(three_megabytes());
  std::vector<Client> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(server.connect());
    clients.back().send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\nbegin");
  }
  EXPECT_EQ(server.ask(post("/echo", std::string(2 * kMega, 'x'))).status, 200);
}

TEST(BodyBudget, a_body_is_given_back_once_its_handler_returned) {
  TestServer server(three_megabytes());
  Client client = server.connect();
  client.send(post("/kept", std::string(2 * kMega, 'x')));
  const ReplyPtr reply = server.take_reply();  // not answered yet
  EXPECT_TRUE(wait_until([&] { return server.server.num_body_bytes() == 0; }));
  EXPECT_EQ(server.ask(post("/echo", std::string(2 * kMega, 'x'))).status, 200);
  reply->send(200, "text/plain", "late");
  EXPECT_EQ(client.read_answer().body, "late");
}

TEST(BodyBudget, answers_that_nobody_reads_have_a_limit) {
  HttpOptions options = local_options();
  options.limits.max_bodies_bytes = 50 * kMega;  // the kernel takes some of each answer
  TestServer server(options);
  std::vector<Client> clients;
  std::vector<Answer> answers;
  for (int i = 0; i < 2; ++i) {
    clients.push_back(server.connect());
    clients.back().send("GET /kept HTTP/1.1\r\nHost: x\r\n\r\n");
    server.take_reply()->send(200, "text/plain", std::string(30 * kMega, 'x'));
    if (i == 0) wait_until([&] { return server.server.num_unread_bytes() > 0; });
  }
  EXPECT_EQ(clients[1].read_answer().status, 503);
  EXPECT_EQ(clients[0].read_answer().body.size(), 30 * kMega);
  EXPECT_TRUE(wait_until([&] { return server.server.num_unread_bytes() == 0; }));
}

TEST(BodyBudget, routes_that_are_open_to_strangers_take_small_bodies_alone) {
  TestServer server(three_megabytes());
  const auto health = [](size_t n) {
    return "GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(n) + "\r\n\r\n";
  };
  EXPECT_EQ(server.ask(health(5) + "hello").status, 200);
  EXPECT_EQ(server.ask(health(100'000)).status, 413);
  Client chunks = server.connect();
  chunks.send("GET /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 2; ++i) chunks.send("10000\r\n" + std::string(0x10000, 'x') + "\r\n");
  EXPECT_EQ(chunks.read_answer().status, 413);
}

TEST(BodyBudget, clients_that_leave_give_it_back) {
  BusyServer server;
  server.first.close();
  EXPECT_TRUE(wait_until([&] { return server.server.num_body_bytes() == 0; }));
  Client slow = server.connect();
  slow.send(post("/echo", std::string(kMega, 'a')).substr(0, kMega / 2));
  EXPECT_TRUE(wait_until([&] { return server.server.num_body_bytes() > 0; }));
  server.server.stop();
}

}  // namespace
}  // namespace packhorse::server::testing
