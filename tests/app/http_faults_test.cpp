// Rows 66 to 76 of the fault catalogue. Each ends with a server that is well and has as many connections as before.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "http_client.h"
#include "testing.h"

namespace packhorse::server::testing {
namespace {

void expect_as_before(TestServer& server) {
  EXPECT_TRUE(server.is_healthy());
  EXPECT_TRUE(wait_until([&] { return server.server.num_connections() == 0; })) << server.server.num_connections();
  EXPECT_TRUE(wait_until([&] { return server.server.num_active() == 0; }));
}

/// As many descriptors as the system gives; returns how many.
int64_t raise_descriptor_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<int64_t>(limit.rlim_cur);
}

TEST(HttpFaults, fault_066_slow_headers) {
  HttpOptions options = local_options();
  options.limits.header_timeout = 400ms;
  TestServer server(options);
  std::vector<Client> slow;
  const int64_t n_slow = std::min<int64_t>(2000, (raise_descriptor_limit() - 200) / 2);
  for (int64_t i = 0; i < n_slow; ++i) {
    slow.push_back(server.connect());
    slow.back().send("G");
  }
  EXPECT_TRUE(server.is_healthy());
  for (Client& client : slow) client.send("E");
  EXPECT_TRUE(server.is_healthy());
  for (Client& client : slow) ASSERT_EQ(client.read_answer().status, 408);
  slow.clear();
  expect_as_before(server);
}

TEST(HttpFaults, fault_067_slow_body) {
  HttpOptions options = local_options();
  options.limits.body_timeout = 600ms;
  options.n_workers = 1;
  TestServer server(options);
  Client stuck = server.connect(), drips = server.connect();
  stuck.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n0123456789");
  drips.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 10; ++i) {
    drips.send("1\r\nx\r\n");
    EXPECT_EQ(server.ask(post("/echo", "well")).body, "well");  // the only worker is free
    std::this_thread::sleep_for(20ms);
  }
  EXPECT_EQ(stuck.read_answer().status, 408);
  EXPECT_TRUE(stuck.is_closed());
  EXPECT_EQ(drips.read_answer().status, 408);
  drips.close();
  stuck.close();
  expect_as_before(server);
}

TEST(HttpFaults, fault_068_client_stops_reading) {
  HttpOptions options = local_options();
  options.limits.send_timeout = 200ms;
  TestServer server(options);
  Client client(server.server.port(), 4096);
  client.send(get("/kept"));
  const ReplyPtr reply = server.take_reply();
  reply->start_stream();
  const std::string events(16 << 10, 'x');
  EXPECT_TRUE(wait_until([&] {
    reply->write(events);
    return server.n_gone > 0;
  }));
  EXPECT_TRUE(server.has_record(499));
  client.close();
  expect_as_before(server);
}

TEST(HttpFaults, fault_068_client_reads_too_slowly) {
  HttpOptions options = local_options();
  options.limits.max_send_buffer_bytes = 1 << 20;
  TestServer server(options);
  Client client(server.server.port(), 4096);
  client.send(get("/kept"));
  const ReplyPtr reply = server.take_reply();
  reply->start_stream();
  const std::string events(256 << 10, 'x');
  EXPECT_TRUE(wait_until([&] {
    reply->write(events);
    return server.n_gone > 0;
  }));
  EXPECT_EQ(server.n_gone, 1);
  client.close();
  expect_as_before(server);
}

struct Case {
  std::string name, request;
  int status;
};

/// Sends each request with a second one behind it, which must not be answered.
void expect_refused(TestServer& server, const std::vector<Case>& cases) {
  for (const Case& refused : cases) {
    SCOPED_TRACE(refused.name);
    Client client = server.connect();
    client.send(refused.request + get("/health"));
    const Answer answer = client.read_answer();
    EXPECT_EQ(answer.status, refused.status);
    EXPECT_NE(answer.body.find("\"error\""), std::string::npos) << answer.body;
    EXPECT_TRUE(client.is_closed());
  }
  expect_as_before(server);
}

TEST(HttpFaults, fault_069_large_heads) {
  TestServer server;
  const long before = ::packhorse::testing::peak_kib(true);
  std::string many = "GET /health HTTP/1.1\r\nHost: x\r\n", few = many;
  for (int i = 0; i < 10'000; ++i) many += "a:\r\n";
  for (int i = 0; i < 300; ++i) few += "a:\r\n";
  const std::string chunked = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  std::string trailers = chunked + "0\r\n";
  for (int i = 0; i < 100'000; ++i) trailers += "a: b\r\n";
  const std::string mega(1 << 20, 'a');
  expect_refused(server, {{"1 MB header", "GET /health HTTP/1.1\r\nHost: " + mega + "\r\n\r\n", 431},
                          {"10,000 headers", many + "\r\n", 431},
                          {"300 headers", few + "\r\n", 431},
                          {"1 MB request line", "GET /" + mega + " HTTP/1.1\r\nHost: x\r\n\r\n", 414},
                          {"1 MB chunk extension", chunked + "5;a=" + mega + "\r\nhello\r\n0\r\n\r\n", 400},
                          {"endless trailers", trailers, 400}});
  Client endless = server.connect();
  endless.send("GET /health HTTP/1.1\r\nHost: ");
  for (int i = 0; i < 64; ++i) endless.send(mega);
  EXPECT_EQ(endless.read_answer().status, 431);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  if (before >= 0) {
    EXPECT_LT(::packhorse::testing::peak_kib(false) - before, 32 << 10);
  }
#else
  (void)before;
#endif
}

TEST(HttpFaults, fault_070_large_bodies) {
  HttpOptions options = local_options();
  options.limits.max_body_bytes = 1 << 20;
  TestServer server(options);
  const std::string chunked = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string chunk = "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
  std::string in_parts = chunked;
  for (int i = 0; i < 17; ++i) in_parts += chunk;
  expect_refused(server,
                 {{"by length", post("/echo", std::string((1 << 20) + 1, 'x')), 413},
                  {"length alone", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n", 413},
                  {"with Expect",
                   "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n", 413},
                  {"one chunk", chunked + "FFFFFFFF\r\n", 413},
                  {"many chunks", in_parts, 413}});
  EXPECT_EQ(server.ask(post("/echo", std::string(1 << 20, 'x'))).body.size(), size_t{1} << 20);
}

TEST(HttpFaults, fault_071_ambiguous_lengths) {
  TestServer server;
  const std::string line = "POST /echo HTTP/1.1\r\nHost: x\r\n", chunked = line + "Transfer-Encoding: chunked\r\n";
  const auto length = [&](const std::string& value) { return line + "Content-Length: " + value + "\r\n\r\nhello"; };
  expect_refused(server,
                 {{"two lengths", line + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400},
                  {"same length twice", line + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400},
                  {"length and coding", chunked + "Content-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 400},
                  {"coding and length", line + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
                  {"two codings", chunked + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
                  {"other coding", line + "Transfer-Encoding: gzip\r\n\r\n", 400},
                  {"coding list", line + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400},
                  {"chunked not last", line + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400},
                  {"coding of HTTP/1.0", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
                  {"plus", length("+5"), 400},
                  {"hexadecimal", length("0x5"), 400},
                  {"list", length("5,5"), 400},
                  {"list with space", length("5, 5"), 400},
                  {"negative", length("-5"), 400},
                  {"2^64", length("18446744073709551616"), 400},
                  {"empty", length(""), 400},
                  {"words", length("5 5"), 400},
                  {"space before colon", line + "Content-Length : 5\r\n\r\nhello", 400},
                  {"tab before colon", line + "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 400},
                  {"no name", line + ": 5\r\n\r\n", 400},
                  {"no colon", line + "Content-Length\r\n\r\n", 400},
                  {"bare LF after request line", "GET /health HTTP/1.1\nHost: x\n\n", 400},
                  {"bare LF after header", "GET /health HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400},
                  {"bare LF at end", "GET /health HTTP/1.1\r\nHost: x\r\n\n", 400},
                  {"bare CR", "GET /health HTTP/1.1\r\nHost: x\rA: b\r\n\r\n", 400},
                  {"obs-fold", line + "A: b\r\n c\r\nContent-Length: 5\r\n\r\nhello", 400},
                  {"folded length", line + "Content-Length:\r\n 5\r\n\r\nhello", 400},
                  {"two hosts", "GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
                  {"no host", "GET /health HTTP/1.1\r\n\r\n", 400},
                  {"chunk size overflow", chunked + "\r\n10000000000000005\r\nhello\r\n0\r\n\r\n", 400},
                  {"chunk size negative", chunked + "\r\n-5\r\nhello\r\n0\r\n\r\n", 400},
                  {"chunk size 0x5", chunked + "\r\n0x5\r\nhello\r\n0\r\n\r\n", 400},
                  {"chunk size empty", chunked + "\r\n\r\nhello\r\n0\r\n\r\n", 400},
                  {"chunk with bare LF", chunked + "\r\n5\nhello\n0\n\n", 400},
                  {"chunk longer than its size", chunked + "\r\n3\r\nhello\r\n0\r\n\r\n", 400},
                  {"quoted chunk extension with LF", chunked + "\r\n5;a=\"x\ny\"\r\nhello\r\n0\r\n\r\n", 400},
                  {"chunk extension with LF", chunked + "\r\n5;a\nb\r\nhello\r\n0\r\n\r\n", 400}});
}

TEST(HttpFaults, fault_071_wrong_from_the_first_byte_when_it_drips) {
  TestServer server;
  for (const std::string_view request : {"GET /health HTTP/1.1\nHost: x\n\n", "GET /health HTTP/1.1\r\nHost: x\r\n y",
                                         "GET /health\r\n", "\x16\x03\x01"}) {
    Client client = server.connect();
    for (const char c : request) {
      client.send({&c, 1});
      std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(client.read_answer().status, 400) << request;
  }
  expect_as_before(server);
}

TEST(HttpFaults, fault_072_garbage) {
  TestServer server;
  expect_refused(server, {{"garbage", "\x80\xff\xfe\x01 junk\r\n\r\n", 400},
                          {"TLS hello", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), 400},
                          {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
                          {"HTTP/0.9", "GET /health\r\n", 400},
                          {"HTTP/3.0", "GET /health HTTP/3.0\r\nHost: x\r\n\r\n", 400},
                          {"NUL in the target", std::string("GET /he\0lth HTTP/1.1\r\nHost: x\r\n\r\n", 33), 400},
                          {"NUL, encoded", "GET /he%00lth HTTP/1.1\r\nHost: x\r\n\r\n", 400},
                          {"LF, encoded", "GET /health%0a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
                          {"half an escape", "GET /health%4 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
                          {"no path", "GET health HTTP/1.1\r\nHost: x\r\n\r\n", 400},
                          {"no target", "GET  HTTP/1.1\r\nHost: x\r\n\r\n", 400},
                          {"empty line first", "\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n", 400},
                          {"authority", "CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400}});
  int n_refused = 0;
  for (const AccessRecord& record : server.records()) n_refused += record.status == 400;
  EXPECT_EQ(n_refused, 13);
}

TEST(HttpFaults, fault_073_idle_connections) {
  HttpOptions options = local_options();
  const int64_t n_clients = std::min<int64_t>(10'000, (raise_descriptor_limit() - 200) / 2);
  options.limits.max_connections = n_clients / 2;
  TestServer server(options);
  std::vector<Client> clients;
  for (int64_t i = 0; i < n_clients; ++i) {
    clients.push_back(server.connect());
    ASSERT_TRUE(clients.back().is_connected());
  }
  EXPECT_TRUE(server.is_healthy());  // the oldest ones made room
  EXPECT_LE(server.server.num_connections(), options.limits.max_connections);
  EXPECT_TRUE(clients.front().is_closed());
  clients.back().send(get("/health"));
  EXPECT_EQ(clients.back().read_answer().status, 200);
  clients.clear();
  expect_as_before(server);
}

TEST(HttpFaults, fault_073_busy_connections_pause_accept) {
  HttpOptions options = local_options();
  options.limits.max_connections = 2;
  TestServer server(options);
  Client first = server.connect(), second = server.connect();
  first.send(get("/kept"));
  second.send(get("/kept"));
  const ReplyPtr a = server.take_reply(), b = server.take_reply();
  Client third = server.connect();
  third.send(get("/health"));
  third.patience = 100ms;
  EXPECT_EQ(third.read_answer().status, 0);
  a->send(200, "text/plain", "a");
  third.patience = 5s;
  EXPECT_EQ(third.read_answer().status, 200);
  b->send(200, "text/plain", "b");
  EXPECT_EQ(second.read_answer().body + first.read_answer().body, "ba");
}

TEST(HttpFaults, fault_073_descriptors_exhausted) {
  TestServer server;
  Client busy = server.connect();
  busy.send(get("/kept"));
  const ReplyPtr reply = server.take_reply();
  Client waiting = server.connect();  // not accepted yet when the descriptors are gone
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{.rlim_cur = 3, .rlim_max = before.rlim_max};
  std::vector<Client> more;
  for (int i = 0; i < 3; ++i) more.push_back(server.connect());
  EXPECT_TRUE(wait_until([&] { return server.server.num_connections() == 5; }));
  const int spare = ::socket(AF_INET, SOCK_STREAM, 0), thread = open_socket_thread();
  ASSERT_GE(thread, 0);
  ::setrlimit(RLIMIT_NOFILE, &none);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(server.server.port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(spare, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_TRUE(wait_until([&] { return server.server.num_connections() < 5; }));  // idle ones go, to make room
  EXPECT_TRUE(wait_until([&] { return is_sleeping(thread); }));                  // it does not try on and on
  reply->send(200, "text/plain", "busy");
  EXPECT_EQ(busy.read_answer().body, "busy");  // those with work go on
  ::setrlimit(RLIMIT_NOFILE, &before);
  ::close(spare);
  ::close(thread);
  more.clear();
  busy.close();
  waiting.close();
  expect_as_before(server);
}

TEST(HttpFaults, fault_074_paths_methods_and_codings) {
  TestServer server;
  EXPECT_EQ(server.ask(get("/nothing")).status, 404);
  EXPECT_EQ(server.ask(get("/health/x")).status, 404);
  const Answer wrong_method = server.ask(get("/echo"));
  EXPECT_EQ(wrong_method.status, 405);
  EXPECT_EQ(wrong_method.headers.at("allow"), "OPTIONS, POST");
  EXPECT_EQ(server.ask(post("/health", "")).headers.at("allow"), "OPTIONS, GET, HEAD");
  EXPECT_EQ(server.ask(post("/echo", "x", "Content-Encoding: gzip\r\n")).status, 415);
  EXPECT_EQ(server.ask(post("/echo", "x", "Content-Encoding: br\r\n")).status, 415);
  EXPECT_EQ(server.ask(post("/echo", "x", "Content-Encoding: identity\r\n")).body, "x");
  EXPECT_NE(server.ask(get("/nothing")).body.find("NotFoundError"), std::string::npos);
  expect_as_before(server);
}

TEST(HttpFaults, fault_075_api_keys) {
  HttpOptions options = local_options();
  options.api_keys = {"secret-one", "secret-two"};
  TestServer server(options);
  for (const std::string_view wrong :
       {"", "Authorization: Bearer secret-on\r\n", "Authorization: Bearer secret-onee\r\n",
        "Authorization: Bearer  secret-one\r\n", "Authorization: Bearer\tsecret-one\r\n",
        "Authorization: secret-one\r\n", "Authorization: Basic secret-one\r\n", "Authorization: Bearersecret-one\r\n",
        "Authorization: Bearer\r\n", "Authorization: Bearer secret-one,secret-two\r\n",
        "Authorization: Bearer Secret-one\r\n", "x-api-key:\r\n", "x-api-key: Bearer secret-one\r\n",
        "x-api-key: secret\r\n"}) {
    for (const std::string_view path : {"/kept", "/items/1", "/files/a/b", "/nothing"}) {
      const Answer answer = server.ask(get(path, wrong));
      EXPECT_EQ(answer.status, 401) << path << " " << wrong;
      EXPECT_EQ(answer.headers.at("www-authenticate"), "Bearer");
      EXPECT_EQ(answer.body.find("secret"), std::string::npos);
    }
    EXPECT_EQ(server.ask(post("/echo", "x", wrong)).status, 401) << wrong;
    EXPECT_EQ(server.ask(get("/health", wrong)).status, 200);
  }
  EXPECT_EQ(server.ask(post("/echo", "x", "Authorization: Bearer secret-one\r\n")).body, "x");
  EXPECT_EQ(server.ask(post("/echo", "x", "authorization: bearer secret-two\r\n")).body, "x");
  EXPECT_EQ(server.ask(post("/echo", "x", "X-API-Key: secret-two\r\n")).body, "x");
  EXPECT_EQ(server.ask("OPTIONS /echo HTTP/1.1\r\nHost: x\r\n\r\n").status, 401);
  expect_as_before(server);
}

TEST(HttpFaults, fault_076_foreign_origins) {
  EXPECT_EQ(HttpOptions().host, "127.0.0.1");
  TestServer server;
  const std::string preflight =
      "OPTIONS /echo HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n"
      "Access-Control-Request-Method: POST\r\n\r\n";
  for (const std::string& request : {post("/echo", "x", "Origin: http://evil.example\r\n"), preflight}) {
    for (const auto& [name, value] : server.ask(request).headers) {
      EXPECT_FALSE(name.starts_with("access-control")) << name;
    }
  }
  HttpOptions options = local_options();
  options.cors = {
      .origins = {"http://good.example"}, .methods = {"POST"}, .headers = {"content-type"}, .allow_credentials = true};
  options.api_keys = {"secret"};
  TestServer open(options);
  EXPECT_FALSE(
      open.ask(get("/health", "Origin: http://evil.example\r\n")).headers.contains("access-control-allow-origin"));
  const Answer good = open.ask(get("/health", "Origin: http://good.example\r\n"));
  EXPECT_EQ(good.headers.at("access-control-allow-origin"), "http://good.example");
  EXPECT_EQ(good.headers.at("access-control-allow-credentials"), "true");
  EXPECT_EQ(open.ask(preflight).status, 400);
  const auto ask = [&](std::string_view headers) {
    return open.ask("OPTIONS /echo HTTP/1.1\r\nHost: x\r\nOrigin: http://good.example\r\n" + std::string(headers) +
                    "\r\n");
  };
  const Answer allowed = ask("Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: Content-Type\r\n");
  EXPECT_EQ(allowed.status, 200);
  EXPECT_EQ(allowed.headers.at("access-control-allow-methods"), "POST");
  EXPECT_EQ(allowed.headers.at("access-control-allow-origin"), "http://good.example");
  EXPECT_EQ(ask("Access-Control-Request-Method: DELETE\r\n").status, 400);
  EXPECT_EQ(ask("Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-other\r\n").status, 400);
}

}  // namespace
}  // namespace packhorse::server::testing
