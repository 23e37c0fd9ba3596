#pragma once
// Addresses of http and https, from settings and from redirects.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace packhorse::hub {

struct Url {
  bool is_https = true;
  std::string host;  // lower case; an IPv6 address without its brackets
  uint16_t port = 443;
  std::string target = "/";  // path and query

  /// "https://host:port"; the port only where it is not the scheme's own.
  std::string origin() const;
  std::string text() const { return origin() + target; }
  /// Value of the Host header.
  std::string authority() const;
  bool same_origin(const Url& other) const;
};

/// Nothing for what is not an absolute http or https address of at most 16 kB, or holds a name and a password.
std::optional<Url> parse_url(std::string_view text);

/// Where a redirect from `base` leads: an absolute address, or a path of the same origin. Nothing when it is neither.
std::optional<Url> follow_location(const Url& base, std::string_view location);
/// "/path" or "path", but not "https://..." or "//host".
bool is_relative_location(std::string_view location);

/// Bytes that a path may not hold become %XX; '/' stays, or is escaped too.
std::string escape_path(std::string_view path, bool keep_slashes = true);

/// A proxy that tunnels https.
struct Proxy {
  std::string host;
  uint16_t port = 80;
  std::string credentials;  // "user:password", may be empty
};
/// What https_proxy or HTTPS_PROXY names, unless no_proxy or NO_PROXY excepts the host. Throws Error{usage} for a value
/// that is no address of a plain http proxy.
std::optional<Proxy> proxy_for(const Url& url);

}  // namespace packhorse::hub
