#include "app/server/http/router.h"

#include <algorithm>
#include <optional>

#include "app/server/http/http_error.h"
#include "app/server/http/text.h"

namespace packhorse::server {
namespace {

constexpr int kManyOpen = 1000;

std::vector<std::string> split(std::string_view path) {
  if (!path.starts_with('/')) return {std::string(path)};
  std::vector<std::string> segments;
  for (size_t begin = 1; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    segments.emplace_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return segments;
}

bool is_open(std::string_view segment) { return segment.starts_with('{') && segment.ends_with('}'); }
bool takes_rest(std::string_view segment) { return is_open(segment) && segment.ends_with("...}"); }

/// What the {} of `pattern` match in `segments`, if all of it does.
std::optional<std::vector<std::string>> match(const std::vector<std::string>& pattern,
                                              const std::vector<std::string>& segments) {
  std::vector<std::string> parameters;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (i >= segments.size()) return std::nullopt;
    if (takes_rest(pattern[i])) {
      std::string rest = segments[i];
      for (size_t j = i + 1; j < segments.size(); ++j) rest += "/" + segments[j];
      if (rest.empty()) return std::nullopt;
      parameters.push_back(std::move(rest));
      return parameters;
    }
    if (is_open(pattern[i]) ? segments[i].empty() : pattern[i] != segments[i]) return std::nullopt;
    if (is_open(pattern[i])) parameters.push_back(segments[i]);
  }
  if (pattern.size() != segments.size()) return std::nullopt;
  return parameters;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = ascii_lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::string percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) throw HttpError(400, "the request target has a '%' without two hexadecimal digits");
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (is_control(c)) throw HttpError(400, "the request target has a control character");
    out += c;
  }
  return out;
}

}  // namespace

void Router::add(Route route) {
  Entry entry{.route = std::move(route), .segments = {}, .n_open = 0};
  entry.segments = split(entry.route.path);
  for (const std::string& segment : entry.segments) {
    entry.n_open += takes_rest(segment) ? kManyOpen : is_open(segment) ? 1 : 0;
  }
  const auto place = std::upper_bound(entries_.begin(), entries_.end(), entry,
                                      [](const Entry& a, const Entry& b) { return a.n_open < b.n_open; });
  entries_.insert(place, std::move(entry));
}

Match Router::find(std::string_view method, std::string_view path) const {
  Match found;
  const std::string_view wanted = method == "HEAD" ? "GET" : method;
  const std::vector<std::string> segments = split(path);
  for (const Entry& entry : entries_) {
    auto parameters = match(entry.segments, segments);
    if (!parameters) continue;
    if (found.pattern.empty() || entry.route.method == wanted) {
      found.pattern = entry.route.path;
      found.error_format = entry.route.error_format;
    }
    if (entry.route.method == wanted) {
      found.route = &entry.route;
      found.parameters = std::move(*parameters);
      return found;
    }
    if (std::find(found.allowed.begin(), found.allowed.end(), entry.route.method) == found.allowed.end()) {
      found.allowed.push_back(entry.route.method);
      if (entry.route.method == "GET") found.allowed.emplace_back("HEAD");
    }
  }
  return found;
}

Target parse_target(std::string_view target, std::string_view root_path) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (target.size() < scheme.size() || !equal_ignoring_case(target.substr(0, scheme.size()), scheme)) continue;
    target.remove_prefix(scheme.size());
    target.remove_prefix(std::min(target.find_first_of("/?"), target.size()));
    if (!target.starts_with('/')) throw HttpError(400, "the request target has no path");
  }
  if (target == "*") return {.path = "*", .query = {}};
  if (!target.starts_with('/') || target.find('#') != std::string_view::npos) {
    throw HttpError(400, "the request target is not a path");
  }
  const size_t mark = std::min(target.find('?'), target.size());
  Target out{.path = percent_decode(target.substr(0, mark)),
             .query = std::string(target.substr(std::min(mark + 1, target.size())))};
  if (!root_path.empty() && out.path.starts_with(root_path)) {
    const std::string_view rest = std::string_view(out.path).substr(root_path.size());
    out.is_bare_root = rest.empty();
    if (rest.empty() || rest.starts_with('/')) out.path = rest.empty() ? "/" : std::string(rest);
  }
  return out;
}

}  // namespace packhorse::server
