#include "engine/hub/url.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/error.h"

namespace packhorse::hub {
namespace {

constexpr size_t kMaxUrlBytes = 16 << 10;

bool is_alphanumeric(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

bool is_host(std::string_view host) {
  const auto allowed = [](char c) { return is_alphanumeric(c) || c == '-' || c == '.' || c == '_'; };
  return !host.empty() && host.size() <= 253 && std::all_of(host.begin(), host.end(), allowed);
}

bool is_ipv6(std::string_view host) {
  const auto allowed = [](char c) { return is_alphanumeric(c) || c == ':' || c == '.'; };
  return host.size() >= 2 && host.size() <= 64 && std::all_of(host.begin(), host.end(), allowed);
}

/// "host", "host:port" or "[ipv6]:port" into the address; false when it is none of them.
bool parse_authority(std::string_view text, Url& url) {
  std::string_view rest;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == text.npos || !is_ipv6(text.substr(1, end - 1))) return false;
    url.host = lower(text.substr(1, end - 1));
    rest = text.substr(end + 1);
  } else {
    const size_t colon = std::min(text.find(':'), text.size());
    if (!is_host(text.substr(0, colon))) return false;
    url.host = lower(text.substr(0, colon));
    rest = text.substr(colon);
  }
  if (rest.empty()) return true;
  const auto [end, error] = std::from_chars(rest.data() + 1, rest.data() + rest.size(), url.port);
  return rest[0] == ':' && error == std::errc() && end == rest.data() + rest.size() && url.port > 0;
}

/// Keeps what may stand in a request line; a fragment is not sent.
std::string escape_target(std::string_view target) {
  std::string out;
  for (const char c : target.substr(0, target.find('#'))) {
    const bool plain = c > 0x20 && c < 0x7f && c != '"' && c != '<' && c != '>';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

bool has_scheme(std::string_view text) {
  const size_t colon = text.find(':');
  return colon != text.npos && colon < text.find_first_of("/?#");
}

std::string_view variable(const char* lower_name, const char* upper_name) {
  for (const char* name : {lower_name, upper_name}) {
    if (const char* value = std::getenv(name); value && *value) return value;
  }
  return {};
}

/// Does one entry of NO_PROXY except the host: "*", "host", "host:port", ".domain" or "domain", which mean subdomains
/// too?
bool is_exception(std::string_view entry, const Url& url) {
  if (entry == "*") return true;
  if (const size_t colon = entry.rfind(':'); colon != entry.npos && entry.find(':') == colon) {
    if (entry.substr(colon + 1) != std::to_string(url.port)) return false;
    entry = entry.substr(0, colon);
  }
  while (entry.starts_with('.') || entry.starts_with('*')) entry.remove_prefix(1);
  const std::string name = lower(entry);
  return !name.empty() && (url.host == name || url.host.ends_with("." + name));
}

bool is_excepted(const Url& url) {
  std::string_view list = variable("no_proxy", "NO_PROXY");
  while (!list.empty()) {
    const size_t end = std::min(list.find_first_of(", "), list.size());
    if (is_exception(list.substr(0, end), url)) return true;
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return false;
}

}  // namespace

std::string Url::authority() const {
  const std::string name = host.find(':') == host.npos ? host : "[" + host + "]";
  return port == (is_https ? 443 : 80) ? name : fmt::format("{}:{}", name, port);
}

std::string Url::origin() const { return fmt::format("{}://{}", is_https ? "https" : "http", authority()); }

bool Url::same_origin(const Url& other) const {
  return is_https == other.is_https && host == other.host && port == other.port;
}

std::optional<Url> parse_url(std::string_view text) {
  if (text.size() > kMaxUrlBytes) return std::nullopt;
  Url url;
  const std::string scheme = lower(text.substr(0, std::min(text.find("://"), text.size())));
  if (scheme != "https" && scheme != "http") return std::nullopt;
  url.is_https = scheme == "https";
  url.port = url.is_https ? 443 : 80;
  text.remove_prefix(scheme.size() + 3);
  const size_t end = std::min(text.find_first_of("/?#"), text.size());
  if (!parse_authority(text.substr(0, end), url)) return std::nullopt;
  url.target = escape_target(text.substr(end));
  if (!url.target.starts_with('/')) url.target.insert(0, "/");
  return url;
}

bool is_relative_location(std::string_view location) { return !has_scheme(location) && !location.starts_with("//"); }

std::optional<Url> follow_location(const Url& base, std::string_view location) {
  if (location.empty() || location.size() > kMaxUrlBytes) return std::nullopt;
  if (location.starts_with("//")) return parse_url((base.is_https ? "https:" : "http:") + std::string(location));
  if (!is_relative_location(location)) return parse_url(location);
  Url url = base;
  const std::string target = escape_target(location);
  if (location.starts_with('/')) {
    url.target = target;
  } else if (location.starts_with('?')) {
    url.target = base.target.substr(0, base.target.find('?')) + target;
  } else {
    const std::string path = base.target.substr(0, base.target.find('?'));
    url.target = path.substr(0, path.rfind('/') + 1) + target;
  }
  return url;
}

std::string escape_path(std::string_view path, bool keep_slashes) {
  constexpr std::string_view kPlain = "-._~";
  std::string out;
  for (const char c : path) {
    const bool plain = is_alphanumeric(c) || kPlain.find(c) != kPlain.npos || (c == '/' && keep_slashes);
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::optional<Proxy> proxy_for(const Url& url) {
  std::string_view value = variable("https_proxy", "HTTPS_PROXY");
  if (!url.is_https || value.empty() || is_excepted(url)) return std::nullopt;
  std::string text(value.find("://") == value.npos ? "http://" + std::string(value) : std::string(value));
  Proxy proxy;
  const size_t begin = text.find("://") + 3;
  const size_t end = std::min(text.find_first_of("/?#", begin), text.size());
  if (const size_t at = text.rfind('@', end); at != text.npos && at >= begin) {
    proxy.credentials = text.substr(begin, at - begin);
    text.erase(begin, at + 1 - begin);
  }
  const std::optional<Url> address = parse_url(text);
  if (!address || address->is_https) {
    fail(ErrorKind::usage, "HTTPS_PROXY: not the address of an http proxy (got '{}', expected http://host:port)",
         printable(text));
  }
  proxy.host = address->host;
  proxy.port = address->port;
  return proxy;
}

}  // namespace packhorse::hub
