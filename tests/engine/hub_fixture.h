#pragma once
// A model repo on a hub within the test, and an empty cache to fetch it into.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "engine/hub/hub.h"
#include "hub_server.h"
#include "testing.h"

namespace packhorse::hub {

namespace fs = std::filesystem;
using testing::http_reply;
using testing::HubServer;

inline const std::string kWeights(300'000, 'w');
inline const std::map<std::string, std::string> kModel = {{"config.json", "{}"},
                                                          {"tokenizer.json", "{\"a\": 1}"},
                                                          {"tokenizer_config.json", ""},
                                                          {"model.safetensors", kWeights},
                                                          {"pytorch_model.bin", "pickle"},
                                                          {"README.md", "text"},
                                                          {"original/consolidated.safetensors", "twice"},
                                                          {"consolidated.safetensors", "twice"}};

class HubFetch : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"https_proxy", "HTTPS_PROXY", "HF_TOKEN", "HF_HOME", "HF_HUB_OFFLINE"}) ::unsetenv(name);
    settings_.cache = folder_.path() / "hub";
    settings_.retry_delay = std::chrono::milliseconds(1);
    settings_.timeout = std::chrono::seconds(5);
  }
  std::string get(const HubServer& server, const std::string& name = "org/name", Need need = Need::model) {
    settings_.endpoint = *parse_url(server.url());
    settings_.endpoint.target.clear();
    return fetch(*parse_reference(name), need, settings_);
  }
  void expect_error(const HubServer& server, ErrorKind kind, const std::string& part,
                    const std::string& name = "org/name") {
    try {
      get(server, name);
      FAIL() << part;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), kind) << e.what();
      EXPECT_THAT(e.what(), ::testing::HasSubstr(part));
      EXPECT_THAT(e.what(), ::testing::Not(::testing::HasSubstr("\n")));
    }
    EXPECT_FALSE(fs::exists(snapshot())) << "what looks like a model is left behind";
  }
  fs::path repo() const { return settings_.cache / "models--org--name"; }
  fs::path snapshot() const { return repo() / "snapshots" / HubServer::kCommit; }
  fs::path blob(const HubServer& server, const std::string& path) const { return repo() / "blobs" / server.etag(path); }
  fs::path partial(const HubServer& server, const std::string& path) const {
    return blob(server, path).string() + ".incomplete";
  }
  static std::vector<std::string> names(const fs::path& folder) {
    std::vector<std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (!entry.is_directory()) found.push_back(entry.path().lexically_relative(folder));
    }
    std::sort(found.begin(), found.end());
    return found;
  }
  /// The usual answer with its body cut after `n_bytes`.
  static std::string cut(const std::string& content, size_t n_bytes) {
    const std::string whole = http_reply("200 OK", "", content);
    return whole.substr(0, whole.size() - content.size() + n_bytes);
  }

  testing::TempDir folder_;
  Settings settings_;
};

}  // namespace packhorse::hub
