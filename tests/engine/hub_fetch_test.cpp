// What a fetch asks for and leaves behind.
#include "hub_fixture.h"

namespace packhorse::hub {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(HubFetch, leaves_what_huggingface_hub_would) {
  const HubServer server(kModel);
  EXPECT_EQ(get(server), snapshot());
  EXPECT_THAT(names(snapshot()),
              ElementsAre("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"));
  for (const std::string& path : names(snapshot())) {
    EXPECT_EQ(fs::read_symlink(snapshot() / path), fs::path("../../blobs") / server.etag(path));
    EXPECT_EQ(testing::read_text(snapshot() / path), kModel.at(path));
    EXPECT_TRUE(fs::exists(settings_.cache / ".locks/models--org--name" / (server.etag(path) + ".lock")));
  }
  EXPECT_EQ(names(repo() / "blobs").size(), 4u);
  EXPECT_EQ(testing::read_text(repo() / "refs/main"), HubServer::kCommit);
  const auto tree =
      nlohmann::json::parse(testing::read_text(repo() / "trees" / (std::string(HubServer::kCommit) + ".json")));
  EXPECT_EQ(tree["format_version"], 1);
  EXPECT_EQ(tree["files"].size(), kModel.size());
  EXPECT_EQ(tree["files"]["model.safetensors"]["lfs_sha256"], server.etag("model.safetensors"));
  EXPECT_EQ(tree["files"]["config.json"]["blob_id"], server.etag("config.json"));
}

TEST_F(HubFetch, asks_nothing_when_all_is_there) {
  const HubServer server(kModel);
  get(server);
  const size_t n_asked = server.http().asked().size();
  EXPECT_EQ(get(server), snapshot());
  fs::remove_all(repo() / "trees");  // as older versions of huggingface_hub leave it
  EXPECT_EQ(get(server), snapshot());
  EXPECT_EQ(server.http().asked().size(), n_asked);
  settings_.offline = true;
  EXPECT_EQ(get(server), snapshot());
}

TEST_F(HubFetch, completes_what_others_left) {
  const HubServer server(kModel);
  get(server);
  fs::remove(snapshot() / "model.safetensors");
  fs::remove(snapshot() / "tokenizer.json");
  fs::remove(blob(server, "tokenizer.json"));
  const size_t n_weights = server.http().n_asked("GET " + HubServer::file_target("model.safetensors"));
  EXPECT_EQ(get(server), snapshot());
  EXPECT_TRUE(fs::exists(snapshot() / "model.safetensors") && fs::exists(snapshot() / "tokenizer.json"));
  EXPECT_EQ(server.http().n_asked("GET " + HubServer::file_target("model.safetensors")),
            n_weights);  // a blob was there
}

TEST_F(HubFetch, brings_the_shards_of_the_index) {
  const std::string index = R"({"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}})";
  const HubServer server({{"config.json", "{}"},
                          {"tokenizer.json", "{}"},
                          {"model.safetensors.index.json", index},
                          {"part-1.safetensors", "1"},
                          {"part-2.safetensors", "2"},
                          {"other.safetensors", "3"}});
  get(server);
  EXPECT_THAT(names(snapshot()), ElementsAre("config.json", "model.safetensors.index.json", "part-1.safetensors",
                                             "part-2.safetensors", "tokenizer.json"));
  fs::remove(snapshot() / "part-2.safetensors");
  settings_.offline = true;
  EXPECT_THROW(get(server), Error);
}

TEST_F(HubFetch, gguf_files_by_tag_and_by_path) {
  const HubServer server({{"m-Q8_0.gguf", "8"},
                          {"m-Q4_K_M.gguf", "4"},
                          {"sub/m-F16-00001-of-00002.gguf", "a"},
                          {"sub/m-F16-00002-of-00002.gguf", "b"},
                          {"config.json", "{}"}});
  EXPECT_EQ(get(server), snapshot() / "m-Q4_K_M.gguf");
  EXPECT_THAT(names(snapshot()), ElementsAre("m-Q4_K_M.gguf"));
  EXPECT_EQ(get(server, "org/name:q8_0"), snapshot() / "m-Q8_0.gguf");
  EXPECT_EQ(get(server, "org/name/sub/m-F16-00001-of-00002.gguf"), snapshot() / "sub/m-F16-00001-of-00002.gguf");
  EXPECT_EQ(fs::read_symlink(snapshot() / "sub/m-F16-00002-of-00002.gguf"),
            fs::path("../../../blobs") / server.etag("sub/m-F16-00002-of-00002.gguf"));
  const size_t n_asked = server.http().asked().size();
  EXPECT_EQ(get(server), snapshot() / "m-Q4_K_M.gguf");
  EXPECT_EQ(get(server, "org/name:f16"), snapshot() / "sub/m-F16-00001-of-00002.gguf");
  EXPECT_EQ(server.http().asked().size(), n_asked);
}

// Without the hub's listing nobody knows whether the file in the cache is the one that the bare name means.
TEST_F(HubFetch, a_bare_name_is_no_other_quantization) {
  const HubServer server({{"m-Q8_0.gguf", "8"}, {"m-Q4_K_M.gguf", "4"}});
  EXPECT_EQ(get(server, "org/name:Q8_0"), snapshot() / "m-Q8_0.gguf");
  fs::remove_all(repo() / "trees");
  EXPECT_EQ(get(server), snapshot() / "m-Q4_K_M.gguf");
}

TEST_F(HubFetch, a_tokenizer_without_weights) {
  const HubServer server(kModel);
  EXPECT_EQ(get(server, "org/name", Need::tokenizer), snapshot());
  EXPECT_THAT(names(snapshot()), ElementsAre("config.json", "tokenizer.json", "tokenizer_config.json"));
  EXPECT_EQ(get(server), snapshot());
  EXPECT_TRUE(fs::exists(snapshot() / "model.safetensors"));
}

TEST_F(HubFetch, the_token_stays_with_the_hub) {
  HubServer server(kModel);
  const testing::HttpServer storage([](const testing::HttpAsked&) { return http_reply("200 OK", "", kWeights); });
  const std::string target = HubServer::file_target("model.safetensors");
  const std::string linked = fmt::format("Location: {}/blob\r\nX-Linked-Etag: \"{}\"\r\nX-Linked-Size: {}\r\n",
                                         storage.url(), server.etag("model.safetensors"), kWeights.size());
  server.script("HEAD", target, {fmt::format("HTTP/1.1 302 Found\r\n{}Content-Length: 9\r\n\r\n", linked)});
  server.script("GET", target, {http_reply("302 Found", linked, "elsewhere")});
  settings_.token = "hf_secret";
  EXPECT_EQ(testing::read_text(fs::path(get(server)) / "model.safetensors"), kWeights);
  for (const auto& request : server.http().asked()) {
    EXPECT_THAT(request.header, HasSubstr("Authorization: Bearer hf_secret\r\n"));
  }
  ASSERT_EQ(storage.asked().size(), 1u);
  EXPECT_THAT(storage.asked()[0].header, Not(HasSubstr("hf_secret")));
}

TEST_F(HubFetch, follows_a_renamed_repo) {
  HubServer server(kModel);
  server.script("GET", "/api/models/old/name/revision/main?blobs=true",
                {http_reply("307 Temporary Redirect", "Location: " + HubServer::list_target() + "\r\n")});
  for (const char* path : {"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"}) {
    const std::string old = fmt::format("/old/name/resolve/{}/{}", HubServer::kCommit, path);
    const std::string redirect =
        http_reply("307 Temporary Redirect", "Location: " + HubServer::file_target(path) + "\r\n");
    server.script("HEAD", old, {redirect});
    server.script("GET", old, {redirect});
  }
  EXPECT_TRUE(fs::exists(fs::path(get(server, "old/name")) / "model.safetensors"));
}

}  // namespace
}  // namespace packhorse::hub
