// Networks, hubs and disks that fail, and hubs that lie.
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "hub_fixture.h"

namespace packhorse::hub {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using HubFaults = HubFetch;

TEST_F(HubFaults, fault_126_cut_is_resumed) {
  HubServer server(kModel);
  const std::string target = HubServer::file_target("model.safetensors");
  server.script("GET", target, {cut(kWeights, 100'000), "", cut(kWeights, 0)});
  EXPECT_EQ(testing::read_text(fs::path(get(server)) / "model.safetensors"), kWeights);
  std::vector<std::string> headers;
  for (const auto& request : server.http().asked()) {
    if (request.method == "GET" && request.target == target) headers.push_back(request.header);
  }
  ASSERT_GE(headers.size(), 3u);
  EXPECT_THAT(headers[0], Not(HasSubstr("Range")));
  EXPECT_THAT(headers[1], HasSubstr("Range: bytes=100000-\r\n"));
}

TEST_F(HubFaults, fault_126_cut_again_and_again) {
  HubServer server(kModel);
  server.script("GET", HubServer::file_target("model.safetensors"), {"", "", "", "", "", "", "", ""});
  expect_error(server, ErrorKind::io, "the connection ended early");
  EXPECT_FALSE(fs::exists(blob(server, "model.safetensors")));
}

TEST_F(HubFaults, fault_126_range_is_ignored) {
  HubServer server(kModel);
  server.script("GET", HubServer::file_target("model.safetensors"),
                {cut(kWeights, 100'000), http_reply("200 OK", "", kWeights)});
  EXPECT_EQ(testing::read_text(fs::path(get(server)) / "model.safetensors"), kWeights);
}

TEST_F(HubFaults, fault_126_another_range) {
  HubServer server(kModel);
  const std::string other =
      http_reply("206 Partial Content", "Content-Range: bytes 5-299999/300000\r\n", kWeights.substr(5));
  server.script("GET", HubServer::file_target("model.safetensors"), {cut(kWeights, 100'000), other});
  expect_error(server, ErrorKind::io, "another part");
}

TEST_F(HubFaults, fault_126_wrong_checksum) {
  for (const char* path : {"tokenizer.json", "model.safetensors"}) {
    HubServer server(kModel);
    std::string content = kModel.at(path);
    content[content.size() / 2] ^= 1;
    server.script("GET", HubServer::file_target(path), {http_reply("200 OK", "", content)});
    expect_error(server, ErrorKind::io, "wrong by its checksum");
    EXPECT_FALSE(fs::exists(blob(server, path)) || fs::exists(partial(server, path)));
  }
}

TEST_F(HubFaults, fault_126_a_wrong_beginning_is_replaced) {
  const HubServer server(kModel);
  fs::create_directories(repo() / "blobs");
  testing::write_text(partial(server, "model.safetensors"), std::string(1000, 'x'));
  testing::write_text(partial(server, "tokenizer.json"), std::string(1000, 'x'));  // and more than there should be
  EXPECT_EQ(testing::read_text(fs::path(get(server)) / "model.safetensors"), kWeights);
  EXPECT_EQ(testing::read_text(snapshot() / "tokenizer.json"), kModel.at("tokenizer.json"));
}

TEST_F(HubFaults, fault_126_wrong_size) {
  const std::string target = HubServer::file_target("model.safetensors");
  for (const auto& [content, part] : {std::pair(kWeights + "w", "longer"), std::pair(std::string("w"), "shorter")}) {
    HubServer server(kModel);
    server.script("GET", target, {http_reply("200 OK", "", content)});
    expect_error(server, ErrorKind::io, part);
    EXPECT_FALSE(fs::exists(partial(server, "model.safetensors")));
  }
  HubServer server(kModel);
  std::string endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 100; ++i) endless += fmt::format("{:x}\r\n{}\r\n", 10'000, std::string(10'000, 'w'));
  server.script("GET", target, {endless});
  expect_error(server, ErrorKind::io, "longer");
}

TEST_F(HubFaults, fault_126_an_old_blob_of_the_wrong_size) {
  const HubServer server(kModel);
  fs::create_directories(repo() / "blobs");
  testing::write_text(blob(server, "model.safetensors"), "cut");
  EXPECT_EQ(testing::read_text(fs::path(get(server)) / "model.safetensors"), kWeights);
}

TEST_F(HubFaults, fault_126_disk_full) {
  const HubServer server(kModel);
  rlimit limit{};
  ::getrlimit(RLIMIT_FSIZE, &limit);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = limit;
  small.rlim_cur = 200'000;
  ::setrlimit(RLIMIT_FSIZE, &small);
  expect_error(server, ErrorKind::io, "needs 100000 bytes more");
  ::setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(testing::read_text(fs::path(get(server)) / "model.safetensors"), kWeights);  // continued
}

TEST_F(HubFaults, fault_126_no_space) {
  HubServer server(kModel);
  server.script("HEAD", HubServer::file_target("model.safetensors"),
                {"HTTP/1.1 200 OK\r\nETag: \"abc\"\r\nContent-Length: 4000000000000000000\r\n\r\n"});
  expect_error(server, ErrorKind::io, "needs 4000000000");
}

TEST_F(HubFaults, fault_126_two_at_once) {
  HubServer server(kModel);
  server.slow_down(std::chrono::milliseconds(200));
  settings_.endpoint = *parse_url(server.url());
  settings_.endpoint.target.clear();
  std::string other;
  std::thread thread([&] { other = fetch(*parse_reference("org/name"), Need::model, settings_); });
  const std::string path = fetch(*parse_reference("org/name"), Need::model, settings_);
  thread.join();
  EXPECT_EQ(path, other);
  EXPECT_EQ(server.http().n_asked("GET " + HubServer::file_target("model.safetensors")), 1u);
}

TEST_F(HubFaults, fault_125_statuses) {
  struct Case {
    const char* status;
    const char* headers;
    ErrorKind kind;
    const char* part;
  };
  for (const Case& c :
       {Case{"401 Unauthorized", "X-Error-Code: RepoNotFound\r\n", ErrorKind::model, "HF_TOKEN"},
        Case{"401 Unauthorized", "X-Error-Code: GatedRepo\r\n", ErrorKind::model, "ask for it"},
        Case{"403 Forbidden", "", ErrorKind::model, "answers 403"},
        Case{"404 Not Found", "X-Error-Code: RepoNotFound\r\n", ErrorKind::model, "HF_ENDPOINT"},
        Case{"404 Not Found", "X-Error-Code: RevisionNotFound\r\n", ErrorKind::model, "revision 'main'"},
        Case{"429 Too Many Requests", "Retry-After: 900\r\n", ErrorKind::io, "answers 429 and asks to wait 900 s"},
        Case{"500 Oh", "", ErrorKind::io, "answers 500"}, Case{"418 Teapot", "", ErrorKind::io, "answers 418"}}) {
    HubServer server(kModel);
    const std::string answer = http_reply(c.status, c.headers, "no");
    server.script("GET", HubServer::list_target(), std::deque<std::string>(20, answer));
    expect_error(server, c.kind, c.part);
    expect_error(server, c.kind, "'org/name'");
  }
}

TEST_F(HubFaults, fault_125_a_passing_refusal) {
  HubServer server(kModel);
  server.script("GET", HubServer::list_target(),
                {http_reply("503 Busy", ""), http_reply("429 Slow", "Retry-After: 0\r\n")});
  server.script("HEAD", HubServer::file_target("config.json"), {"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"});
  server.script("GET", HubServer::file_target("config.json"), {http_reply("502 Bad", "")});
  EXPECT_EQ(get(server), snapshot());
}

TEST_F(HubFaults, fault_125_unreachable) {
  std::string url;
  {
    const HubServer server(kModel);
    url = server.url();
  }
  settings_.endpoint = *parse_url(url);
  try {
    fetch(*parse_reference("org/name"), Need::model, settings_);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::io);
    EXPECT_THAT(e.what(), HasSubstr("HF_ENDPOINT"));
    EXPECT_THAT(e.what(), HasSubstr(url));
  }
}

TEST_F(HubFaults, fault_125_offline) {
  const HubServer server(kModel);
  settings_.offline = true;
  expect_error(server, ErrorKind::model, "HF_HUB_OFFLINE");
  EXPECT_TRUE(server.http().asked().empty());
}

TEST_F(HubFaults, fault_125_no_answer) {
  std::atomic<bool> done = false;
  const testing::HttpServer server([&](const testing::HttpAsked&) {
    while (!done) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return std::string();
  });
  settings_.endpoint = *parse_url(server.url());
  settings_.timeout = std::chrono::milliseconds(200);
  EXPECT_THROW(fetch(*parse_reference("org/name"), Need::model, settings_), Error);
  done = true;
}

/// Ctrl-C in Python is an exception from the report of progress.
TEST_F(HubFaults, stops_when_the_report_throws) {
  std::atomic<bool> done = false;
  const testing::HttpServer server([&](const testing::HttpAsked&) {
    while (!done) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return std::string();
  });
  settings_.endpoint = *parse_url(server.url());
  settings_.timeout = std::chrono::hours(1);
  int n_calls = 0;
  settings_.on_progress = [&](std::string_view, uint64_t, uint64_t) {
    if (++n_calls == 3) throw std::runtime_error("stop");
  };
  EXPECT_THROW(fetch(*parse_reference("org/name"), Need::model, settings_), std::runtime_error);
  EXPECT_EQ(n_calls, 3);
  done = true;
}

TEST_F(HubFaults, names_that_lead_elsewhere) {
  for (const char* path :
       {"../../../out.gguf", "/out.gguf", "a/../../out.gguf", "a\\out.gguf", "./out.gguf", "a//out.gguf"}) {
    const HubServer server(std::map<std::string, std::string>{{path, "x"}});
    expect_error(server, ErrorKind::model, "leads elsewhere");
    EXPECT_FALSE(fs::exists(folder_.path() / "out.gguf"));
  }
  const std::string index = R"({"weight_map": {"a": "../../../out.safetensors"}})";
  const HubServer server({{"config.json", "{}"},
                          {"tokenizer.json", "{}"},
                          {"model.safetensors.index.json", index},
                          {"a.safetensors", "x"}});
  expect_error(server, ErrorKind::model, "shard name");
}

TEST_F(HubFaults, hostile_answers) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  const std::string json = R"({"sha": "abc", "siblings": [{"rfilename": "a.gguf"}]})";
  std::vector<std::string> answers = {
      "not http at all\r\n\r\n",
      ok + "X: " + std::string(100'000, 'x') + "\r\n\r\n",
      http_reply("200 OK", "", "no json"),
      http_reply("200 OK", "", std::string(100'000, '[')),
      http_reply("200 OK", "", "{}"),
      http_reply("200 OK", "", R"({"sha": "../../x", "siblings": [{"rfilename": "a.gguf"}]})"),
      http_reply("200 OK", "", R"({"sha": 5, "siblings": {"rfilename": "a.gguf"}})"),
      http_reply("302 Found", "Location: ftp://host/\r\n"),
      http_reply("302 Found", "Location: //\r\n"),
      http_reply("302 Found", ""),
      ok + "Content-Length: 5\r\nContent-Length: 7\r\n\r\nabcdefg",
      ok + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n"};
  for (const std::string& answer : answers) {
    HubServer server(kModel);
    server.script("GET", HubServer::list_target(), {answer, answer, answer, answer, answer});
    expect_error(server, ErrorKind::io, "'org/name'");
  }
  HubServer loop(kModel);
  const std::string again = http_reply("302 Found", "Location: " + HubServer::list_target() + "\r\n");
  loop.script("GET", HubServer::list_target(), std::deque<std::string>(20, again));
  expect_error(loop, ErrorKind::io, "too many redirects");
  for (const char* about :
       {"ETag: \"../../x\"\r\nContent-Length: 1\r\n", "Content-Length: 1\r\n", "ETag: \"abc\"\r\n",
        "ETag: \"\"\r\nContent-Length: 1\r\n", "ETag: \"abc\"\r\nX-Repo-Commit: other\r\nContent-Length: 1\r\n"}) {
    HubServer server(kModel);
    server.script("HEAD", HubServer::file_target("config.json"), {fmt::format("HTTP/1.1 200 OK\r\n{}\r\n", about)});
    expect_error(server, ErrorKind::io, "does not answer as a hub");
  }
}

}  // namespace
}  // namespace packhorse::hub
