#pragma once
// Responses that clients may ask for again or go on from: in memory, the least recently used ones forgotten first.

#include <cstddef>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

namespace packhorse::server {

struct StoredResponse {
  std::string json;          // the response object
  std::string conversation;  // JSON array: the chat's messages and the answer, as clients write them
};

/// Thread-safe.
class ResponseStore {
 public:
  explicit ResponseStore(size_t max_responses = 1000, size_t max_bytes = size_t{64} << 20)
      : max_responses_(max_responses), max_bytes_(max_bytes) {}

  /// What alone is larger than the store is not kept.
  void put(const std::string& id, StoredResponse response);
  std::optional<StoredResponse> find(const std::string& id);
  bool erase(const std::string& id);

 private:
  struct Entry {
    std::string id;
    StoredResponse response;
    size_t n_bytes() const { return id.size() + response.json.size() + response.conversation.size(); }
  };

  void erase(std::list<Entry>::iterator entry);

  const size_t max_responses_, max_bytes_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // the last used first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_id_;
  size_t n_bytes_ = 0;
};

}  // namespace packhorse::server
