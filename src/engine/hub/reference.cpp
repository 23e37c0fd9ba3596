#include "engine/hub/reference.h"

#include <algorithm>

#include "engine/hub/settings.h"

namespace packhorse::hub {

std::string Reference::text() const {
  if (!tag.empty()) return repo + ":" + tag;
  return file.empty() ? repo : repo + "/" + file;
}

std::optional<Reference> parse_reference(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == text.npos) {
    // Old repos without an owner, as far as they are in the cache.
    return is_plain_name(text) ? std::optional(Reference{.repo = std::string(text), .tag = {}, .file = {}})
                               : std::nullopt;
  }
  const size_t end = std::min(text.find_first_of("/:", slash + 1), text.size());
  if (!is_plain_name(text.substr(0, slash)) || !is_plain_name(text.substr(slash + 1, end - slash - 1))) {
    return std::nullopt;
  }
  Reference reference{.repo = std::string(text.substr(0, end)), .tag = {}, .file = {}};
  if (end == text.size()) return reference;
  const std::string_view rest = text.substr(end + 1);
  if (text[end] == ':') {
    if (!is_plain_name(rest)) return std::nullopt;
    reference.tag = rest;
  } else {
    if (!is_safe_relative_path(rest) || !rest.ends_with(".gguf")) return std::nullopt;
    reference.file = rest;
  }
  return reference;
}

bool is_safe_relative_path(std::string_view path) {
  if (path.empty() || path.size() > 1024) return false;
  const auto is_control = [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f || c == '\\'; };
  if (std::any_of(path.begin(), path.end(), is_control)) return false;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
    begin = end + 1;
  }
  return true;
}

}  // namespace packhorse::hub
