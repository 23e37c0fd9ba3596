#include "app/server/http/api_keys.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "app/server/http/text.h"

namespace packhorse::server {

static_assert(SHA256_DIGEST_LENGTH == 32);

ApiKeys::ApiKeys(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) digests_.push_back(digest(key));
}

bool ApiKeys::allow(const HttpRequest& request) const {
  if (digests_.empty()) return true;
  constexpr std::string_view kScheme = "Bearer ";
  std::string_view bearer = request.header("Authorization");
  if (equal_ignoring_case(bearer.substr(0, kScheme.size()), kScheme)) {
    bearer.remove_prefix(kScheme.size());
  } else {
    bearer = {};
  }
  return (!bearer.empty() && knows(bearer)) || knows(request.header("x-api-key"));
}

ApiKeys::Digest ApiKeys::digest(std::string_view key) {
  Digest out;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), out.data());
  return out;
}

bool ApiKeys::knows(std::string_view key) const {
  const Digest wanted = digest(key);
  bool is_known = false;
  for (const Digest& known : digests_) {
    const bool is_same = CRYPTO_memcmp(known.data(), wanted.data(), wanted.size()) == 0;
    is_known |= is_same;
  }
  return is_known;
}

}  // namespace packhorse::server
