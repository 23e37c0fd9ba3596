#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/un.h>

#include <filesystem>
#include <optional>

#include "http_client.h"
#include "testing.h"

namespace packhorse::server::testing {
namespace {

using ::packhorse::testing::TempDir;

TEST(HttpServer, AnswersOnOneConnection) {
  TestServer server;
  Client client = server.connect();
  client.send(post("/echo", "one"));
  EXPECT_EQ(client.read_answer().body, "one");
  client.send(get("/files/a%2Fb?c=d"));
  EXPECT_EQ(client.read_answer().body, "a/b?c=d");
  client.send("HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n");
  const Answer head = client.read_answer(true);
  EXPECT_EQ(head.headers.at("content-length"), "2");
  client.send(get("/health", "Connection: close\r\n"));
  const Answer last = client.read_answer();
  EXPECT_EQ(last.body, "ok");
  EXPECT_EQ(last.headers.at("connection"), "close");
  EXPECT_TRUE(client.is_closed());
}

TEST(HttpServer, ReadsChunksByteByByte) {
  TestServer server;
  Client client = server.connect();
  const std::string_view request =
      "POST /quick HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
      "3;a=\"b\"\r\na\nb\r\n002\r\n\r\n\r\n0\r\nX-Trailer: y\r\nAuthorization: z\r\n\r\n";
  for (const char c : request) {
    client.send({&c, 1});
    std::this_thread::sleep_for(200us);
  }
  EXPECT_EQ(client.read_answer().body, "a\nb\r\n");
  client.send(std::string(request) + std::string(request));
  EXPECT_EQ(client.read_answer().body, "a\nb\r\n");
  EXPECT_EQ(client.read_answer().body, "a\nb\r\n");
}

TEST(HttpServer, AnswersPipelinedRequestsInOrder) {
  TestServer server;
  Client client = server.connect();
  client.send(get("/kept") + post("/echo", "two") + get("/nothing") + get("/health"));
  std::this_thread::sleep_for(20ms);
  server.take_reply()->send(200, "text/plain", "one");
  EXPECT_EQ(client.read_answer().body, "one");
  EXPECT_EQ(client.read_answer().body, "two");
  EXPECT_EQ(client.read_answer().status, 404);
  EXPECT_EQ(client.read_answer().body, "ok");
}

TEST(HttpServer, ManyPipelinedRequestsOfAClientThatReadsLate) {
  TestServer server;
  Client client = server.connect();
  constexpr int kRequests = 20'000;  // answers fill all buffers on the way
  std::thread writer([&] {
    for (int i = 0; i < kRequests; ++i) client.send(get("/health"));
  });
  std::this_thread::sleep_for(100ms);
  int n_answers = 0;
  while (n_answers < kRequests && client.read_answer().status == 200) ++n_answers;
  writer.join();
  EXPECT_EQ(n_answers, kRequests);
}

TEST(HttpServer, AsksForAnExpectedBody) {
  TestServer server;
  Client client = server.connect();
  client.send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("hi");
  EXPECT_EQ(client.read_answer().body, "hi");
}

TEST(HttpServer, StreamsEvents) {
  TestServer server;
  Client client = server.connect();
  client.send(get("/kept"));
  const ReplyPtr reply = server.take_reply();
  reply->start_stream({{"X-Extra", "y"}});
  reply->write("data: 1\n\n");
  reply->write("");
  reply->write("data: 2\n\n");
  reply->end();
  reply->write("data: late\n\n");
  const Answer answer = client.read_answer();
  EXPECT_EQ(answer.body, "data: 1\n\ndata: 2\n\n");
  EXPECT_EQ(answer.headers.at("content-type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(answer.headers.at("cache-control"), "no-cache");
  EXPECT_EQ(answer.headers.at("x-accel-buffering"), "no");
  EXPECT_EQ(answer.headers.at("x-extra"), "y");
  client.send(get("/health"));
  EXPECT_EQ(client.read_answer().status, 200);
  EXPECT_EQ(server.n_gone, 0);
}

TEST(HttpServer, StreamsToHttp10UntilTheEndOfTheConnection) {
  TestServer server;
  Client client = server.connect();
  client.send("GET /kept HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const ReplyPtr reply = server.take_reply();
  reply->start_stream();
  reply->write("data: 1\n\n");
  reply->end();
  const std::string all = client.read_all();
  EXPECT_TRUE(all.ends_with("\r\n\r\ndata: 1\n\n")) << all;
  EXPECT_EQ(all.find("chunked"), std::string::npos);
  Client second = server.connect();
  second.send("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(second.read_answer().headers.at("connection"), "keep-alive");
  second.send("GET /health HTTP/1.0\r\n\r\n");
  EXPECT_EQ(second.read_answer().headers.at("connection"), "close");
  EXPECT_TRUE(second.is_closed());
}

TEST(HttpServer, SendsKeepAliveCommentsWhileSilent) {
  HttpOptions options = local_options();
  options.sse_keep_alive = 40ms;
  TestServer server(options);
  Client client = server.connect();
  client.send(get("/kept"));
  const ReplyPtr reply = server.take_reply();
  reply->start_stream();
  client.read_until("\r\n\r\n");
  EXPECT_EQ(client.read_chunk(), ": keep-alive\n\n");
  EXPECT_EQ(client.read_chunk(), ": keep-alive\n\n");
  reply->end();
}

TEST(HttpServer, SeesAClientLeave) {
  TestServer server;
  for (const bool is_stream : {false, true}) {
    Client client = server.connect();
    client.send(get("/kept"));
    const ReplyPtr reply = server.take_reply();
    if (is_stream) reply->start_stream();
    EXPECT_EQ(server.server.num_active(), 1);
    client.close();
    EXPECT_TRUE(wait_until([&] { return server.n_gone == (is_stream ? 2 : 1); }));
    EXPECT_TRUE(wait_until([&] { return server.server.num_active() == 0; }));
    std::atomic<int> n_late{0};
    reply->on_gone([&] { ++n_late; });
    EXPECT_EQ(n_late, 1);
    reply->send(200, "text/plain", "nobody");
    reply->write("nobody");
    reply->end();
  }
  EXPECT_TRUE(server.has_record(499));
}

TEST(HttpServer, DroppedRepliesAndExceptionsAreAnswered) {
  TestServer server;
  EXPECT_EQ(server.ask(get("/dropped")).status, 500);
  const Answer wrong = server.ask(get("/wrong"));
  EXPECT_EQ(wrong.status, 404);
  EXPECT_NE(wrong.body.find("no such model"), std::string::npos);
  Client client = server.connect();
  client.send(get("/kept"));
  ReplyPtr reply = server.take_reply();
  reply->start_stream();
  reply->write("data: 1\n\n");
  reply.reset();
  const std::string all = client.read_all();
  EXPECT_NE(all.find("data: 1"), std::string::npos);
  EXPECT_FALSE(all.ends_with("0\r\n\r\n"));
}

TEST(HttpServer, ARoutesErrorsHaveItsNotation) {
  HttpOptions options = local_options();
  options.api_keys = {"k"};
  options.limits.max_body_bytes = 10;
  TestServer server(options);
  const std::string_view key = "Authorization: Bearer k\r\n";
  EXPECT_EQ(server.ask(post("/plain", "x")).body, "plain: the API key is missing or wrong");
  EXPECT_EQ(server.ask(get("/plain", key)).body, "plain: the method is not one of OPTIONS, POST");
  EXPECT_EQ(server.ask(post("/plain", std::string(11, 'x'), key)).body,
            "plain: the body is larger than 10 bytes (--max-body-mb)");
  EXPECT_EQ(server
                .ask("POST /plain HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
                     "Transfer-Encoding: chunked\r\n\r\nno number\r\n")
                .body,
            "plain: malformed HTTP request: bad chunk");
  Client client = server.connect();
  client.send(post("/plain", "x", key) + post("/plain", "", key) + get("/nothing", key));
  EXPECT_EQ(client.read_answer().body, "plain: no such model");
  EXPECT_EQ(client.read_answer().body, "plain: internal error");
  EXPECT_EQ(client.read_answer().body, error_body(HttpError(404, "there is no /nothing")));
  server.server.begin_drain();
  EXPECT_EQ(server.ask(post("/plain", "x", key)).body, "plain: the server is shutting down");
}

TEST(HttpServer, LeadsFromASlashAtTheEndToThePath) {
  HttpOptions options = local_options();
  options.root_path = "/api";
  TestServer server(options);
  const Answer moved = server.ask(post("/api/items/a%20b/?c=d/", "body"));
  EXPECT_EQ(moved.status, 307);
  EXPECT_EQ(moved.headers.at("location"), "/api/items/a%20b?c=d/");
  EXPECT_EQ(server.ask(get("/echo/")).headers.at("location"), "/echo");  // which says 405
  for (const char* unknown : {"/nothing/", "/health//", "/health%2F", "//health/", "//"}) {
    EXPECT_EQ(server.ask(get(unknown)).status, 404) << unknown;
  }
}

TEST(HttpServer, WritesFromManyThreadsArriveWhole) {
  TestServer server;
  constexpr int kStreams = 16, kEvents = 500;
  std::vector<Client> clients;
  std::vector<std::thread> writers;
  for (int i = 0; i < kStreams; ++i) {
    clients.push_back(server.connect());
    clients.back().send(get("/kept"));
    writers.emplace_back([reply = server.take_reply()] {
      reply->start_stream();
      for (int k = 0; k < kEvents; ++k) reply->write("data: " + std::to_string(k) + "\n\n");
      reply->end();
    });
  }
  std::string expected;
  for (int k = 0; k < kEvents; ++k) expected += "data: " + std::to_string(k) + "\n\n";
  for (Client& client : clients) EXPECT_EQ(client.read_answer().body, expected);
  for (std::thread& writer : writers) writer.join();
  EXPECT_TRUE(wait_until([&] { return server.server.num_active() == 0; }));
}

TEST(HttpServer, DrainsAndStops) {
  TestServer server;
  Client client = server.connect(), other = server.connect();
  client.send(get("/kept"));
  const ReplyPtr reply = server.take_reply();
  server.server.begin_drain();
  other.send(post("/quick", ""));
  const Answer refused = other.read_answer();
  EXPECT_EQ(refused.status, 503);
  EXPECT_TRUE(refused.headers.contains("retry-after"));
  EXPECT_TRUE(other.is_closed());
  EXPECT_EQ(server.ask(get("/health")).headers.at("connection"), "close");
  EXPECT_TRUE(wait_until([&] { return server.server.num_active() == 1; }));  // the one that waits
  reply->send(200, "text/plain", "done");
  EXPECT_EQ(client.read_answer().body, "done");
  EXPECT_TRUE(client.is_closed());
  Client last = server.connect();
  last.send(get("/health"));
  EXPECT_EQ(last.read_answer().status, 200);
  server.server.stop();
  EXPECT_EQ(server.server.num_connections(), 0);
  server.server.stop();
}

TEST(HttpServer, WhoDrainsSeesRequestsWhoseBodiesAreComing) {
  TestServer server;
  Client client = server.connect();
  client.send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  client.read_until("\r\n\r\n");
  EXPECT_TRUE(server.is_healthy());
  EXPECT_TRUE(wait_until([&] { return server.server.num_connections() == 1; }));  // the one that waits for "hi"
  server.server.begin_drain();
  EXPECT_EQ(server.server.num_active(), 1);
  client.send("hi");
  EXPECT_EQ(client.read_answer().body, "hi");
  EXPECT_TRUE(wait_until([&] { return server.server.num_active() == 0; }));
}

TEST(HttpServer, StopTellsThoseWhoAreBeingAnswered) {
  TestServer server;
  Client client = server.connect();
  client.send(get("/kept"));
  const ReplyPtr reply = server.take_reply();
  server.server.stop();
  EXPECT_EQ(server.n_gone, 1);
  reply->send(200, "text/plain", "late");
  EXPECT_TRUE(client.is_closed());
}

TEST(HttpServer, RecordsEachAnswer) {
  HttpOptions options = local_options();
  options.request_id_headers = true;
  TestServer server(options);
  EXPECT_EQ(server.ask(get("/health", "X-Request-Id: mine-1\r\n")).headers.at("x-request-id"), "mine-1");
  const std::string random = server.ask(get("/nothing", "X-Request-Id: a b\r\n")).headers.at("x-request-id");
  EXPECT_EQ(random.size(), 32u);
  EXPECT_NE(server.ask(get("/nothing")).headers.at("x-request-id"), random);
  EXPECT_EQ(
      server.ask(get("/nothing", "X-Request-Id: " + std::string(129, 'a') + "\r\n")).headers.at("x-request-id").size(),
      32u);
  EXPECT_EQ(server.ask("PUT /health HTTP/1.1\r\nHost: x\r\n\r\n").status, 405);
  const std::vector<AccessRecord> records = server.records();
  ASSERT_EQ(records.size(), 5u);
  EXPECT_EQ(records[0].request->id, "mine-1");
  EXPECT_EQ(records[0].request->path, "/health");
  EXPECT_EQ(records[0].request->client, "127.0.0.1");
  EXPECT_EQ(records[0].status, 200);
  EXPECT_GT(records[0].n_bytes_sent, 50);
  EXPECT_TRUE(records[0].request->has_route);
  EXPECT_EQ(records[1].status, 404);
  EXPECT_FALSE(records[1].request->has_route);
  EXPECT_EQ(records[4].request->route, "/health");
  EXPECT_FALSE(records[4].request->has_route);
}

TEST(HttpServer, IdleConnectionsEnd) {
  HttpOptions options = local_options();
  options.limits.idle_timeout = 60ms;
  TestServer server(options);
  Client fresh = server.connect();
  EXPECT_TRUE(fresh.is_closed());
  std::optional<Client> used;
  ASSERT_TRUE(wait_until([&] {  // until one asks before its time is over
    used.emplace(server.server.port());
    used->send(get("/health"));
    return used->read_answer().status == 200;
  }));
  EXPECT_TRUE(used->is_closed());
}

TEST(HttpServer, TakesOffTheRootPath) {
  HttpOptions options = local_options();
  options.root_path = "/api";
  TestServer server(options);
  EXPECT_EQ(server.ask(get("/api/health")).status, 200);
  EXPECT_EQ(server.ask(get("/health")).status, 200);
}

TEST(HttpServer, fault_111_port_taken) {
  TestServer server;
  HttpOptions options = local_options();
  options.port = server.server.port();
  try {
    HttpServer second(options, error_response);
    FAIL() << "bound twice";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
    EXPECT_EQ(std::string(error.what()),
              "cannot bind 127.0.0.1:" + std::to_string(options.port) + ": Address already in use");
  }
  options.host = "192.0.2.1";
  EXPECT_THROW(HttpServer(options, error_response), Error);
}

int connect_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  ::close(fd);
  return -1;
}

TEST(HttpServer, UnixSocket) {
  const TempDir dir;
  HttpOptions options;
  options.uds = dir.file("socket");
  {
    TestServer server(options);
    EXPECT_EQ(server.server.url(), "unix:" + options.uds);
    EXPECT_THROW(HttpServer(options, error_response), Error);  // somebody listens there
    const int fd = connect_unix(options.uds);
    ASSERT_GE(fd, 0);
    const std::string request = get("/health", "Connection: close\r\n");
    ASSERT_EQ(::send(fd, request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
    std::string answer(4096, '\0');
    answer.resize(static_cast<size_t>(std::max<ssize_t>(::recv(fd, answer.data(), answer.size(), 0), 0)));
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer;
    ::close(fd);
  }
  EXPECT_FALSE(std::filesystem::exists(options.uds));
  ::packhorse::testing::write_text(options.uds, "not a socket");
  EXPECT_THROW(HttpServer(options, error_response), Error);
  EXPECT_EQ(::packhorse::testing::read_text(options.uds), "not a socket");
}

}  // namespace
}  // namespace packhorse::server::testing
