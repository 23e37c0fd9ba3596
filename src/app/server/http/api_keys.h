#pragma once
// Who may ask.

#include <array>
#include <string>
#include <vector>

#include "app/server/http/http.h"

namespace packhorse::server {

class ApiKeys {
 public:
  explicit ApiKeys(const std::vector<std::string>& keys);

  /// The request has one of the keys, as "Authorization: Bearer KEY" or "x-api-key: KEY", or none is needed. How long
  /// this takes says nothing of the keys: digests are compared, all of them to their ends.
  bool allow(const HttpRequest& request) const;

 private:
  using Digest = std::array<unsigned char, 32>;
  static Digest digest(std::string_view key);
  bool knows(std::string_view key) const;

  std::vector<Digest> digests_;
};

}  // namespace packhorse::server
