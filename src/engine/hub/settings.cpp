#include "engine/hub/settings.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>

#include "base/error.h"

namespace packhorse::hub {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

/// A folder or file; "~/" is the home folder, as huggingface_hub has it.
fs::path path_variable(const char* name) {
  const std::string value = variable(name);
  return value.starts_with("~/") ? fs::path(variable("HOME")) / value.substr(2) : fs::path(value);
}

bool is_set(const char* name) {
  std::string value = variable(name);
  for (char& c : value) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

fs::path home() {
  if (const fs::path path = path_variable("HF_HOME"); !path.empty()) return path;
  if (const fs::path path = path_variable("XDG_CACHE_HOME"); !path.empty()) return path / "huggingface";
  return fs::path(variable("HOME")) / ".cache/huggingface";
}

fs::path cache_folder_of(const EngineOptions& options) {
  if (!options.download_dir.empty()) return options.download_dir;
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const fs::path path = path_variable(name); !path.empty()) return path;
  }
  return home() / "hub";
}

std::string trimmed(const std::string& text) {
  constexpr const char* kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

std::string token_in_file() {
  fs::path path = path_variable("HF_TOKEN_PATH");
  if (path.empty()) path = home() / "token";
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// The first of option, variables and file that has one. Never shown: a message may end up in a log.
std::string find_token(const EngineOptions& options) {
  for (const std::string& candidate :
       {options.hf_token, variable("HF_TOKEN"), variable("HUGGING_FACE_HUB_TOKEN"), token_in_file()}) {
    const std::string token = trimmed(candidate);
    if (token.empty()) continue;
    const auto is_printable = [](char c) { return c > 0x20 && c < 0x7f; };
    if (!std::all_of(token.begin(), token.end(), is_printable)) {
      fail(ErrorKind::usage, "HF_TOKEN: holds characters that no token has");
    }
    return token;
  }
  return "";
}

Url find_endpoint() {
  std::string text = trimmed(variable("HF_ENDPOINT"));
  if (text.empty()) text = "https://huggingface.co";
  while (text.ends_with('/')) text.pop_back();
  std::optional<Url> url = parse_url(text);
  if (!url) fail(ErrorKind::usage, "HF_ENDPOINT: not an http or https address (got '{}')", printable(text));
  if (url->target == "/") url->target.clear();
  return *url;
}

/// A branch, tag or commit; "refs/pr/1" is one too.
bool is_revision(std::string_view text) {
  for (size_t slash = text.find('/'); slash != text.npos; slash = text.find('/')) {
    if (!is_plain_name(text.substr(0, slash))) return false;
    text.remove_prefix(slash + 1);
  }
  return is_plain_name(text);
}

std::chrono::milliseconds find_timeout(std::chrono::milliseconds otherwise) {
  const std::string text = variable("HF_HUB_DOWNLOAD_TIMEOUT");
  if (text.empty()) return otherwise;
  unsigned seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size() || seconds < 1 || seconds > 86'400) {
    fail(ErrorKind::usage, "HF_HUB_DOWNLOAD_TIMEOUT: not a number of seconds (got '{}', allowed 1 to 86400)",
         printable(text));
  }
  return std::chrono::seconds(seconds);
}

}  // namespace

bool is_plain_name(std::string_view text) {
  const auto allowed = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
           c == '.';
  };
  return !text.empty() && text.size() <= 96 && text.front() != '.' && text.front() != '-' &&
         text.find("..") == text.npos && std::all_of(text.begin(), text.end(), allowed);
}

Settings settings_from(const EngineOptions& options) {
  Settings settings;
  if (!options.revision.empty()) settings.revision = options.revision;
  if (!is_revision(settings.revision)) {
    fail(ErrorKind::usage, "revision: not a branch, tag or commit (got '{}')", printable(settings.revision));
  }
  settings.endpoint = find_endpoint();
  settings.token = find_token(options);
  settings.cache = cache_folder_of(options);
  settings.offline = is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE");
  settings.timeout = find_timeout(settings.timeout);
  settings.on_progress = options.on_progress;
  return settings;
}

}  // namespace packhorse::hub
