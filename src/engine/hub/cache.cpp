#include "engine/hub/cache.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "base/cached_file.h"
#include "base/error.h"
#include "base/json.h"
#include "engine/hub/reference.h"
#include "engine/hub/settings.h"
#include "io/hf_directory.h"

namespace packhorse::hub {
namespace {

namespace fs = std::filesystem;

constexpr int kListingFormat = 1;
constexpr size_t kMaxFiles = 100'000;

std::string folder_name(std::string_view repo) {
  std::string folder = "models--";
  for (const char c : repo) folder += c == '/' ? "--" : std::string(1, c);
  return folder;
}

/// Readers see the whole text or none of it.
void write_file(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  const fs::path temporary = path.string() + fmt::format(".{}.tmp", ::getpid());
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) fail_errno(temporary, "write");
  fs::rename(temporary, path);
}

}  // namespace

Cache::Cache(const fs::path& root, std::string_view repo)
    : repo_(root / folder_name(repo)), locks_(root / ".locks" / folder_name(repo)) {}

std::string Cache::commit_of(const std::string& revision) const {
  std::ifstream file(repo_ / "refs" / revision);
  std::string commit;
  if (!(file >> commit)) return revision;
  if (!is_plain_name(commit)) {
    fail_model("{}: not a commit (got '{}')", shown(repo_ / "refs" / revision), printable(commit));
  }
  return commit;
}

void Cache::set_revision(const std::string& revision, const std::string& commit) const {
  if (revision != commit && commit_of(revision) != commit) write_file(repo_ / "refs" / revision, commit);
}

bool Cache::has_file(const std::string& commit, const std::string& path) const {
  std::error_code error;
  return fs::is_regular_file(snapshot(commit) / path, error);
}

std::vector<std::string> Cache::files(const std::string& commit) const {
  std::vector<std::string> paths;
  std::error_code error;
  const fs::path folder = snapshot(commit);
  fs::recursive_directory_iterator entries(folder, error);
  for (; !error && entries != fs::recursive_directory_iterator(); entries.increment(error)) {
    std::error_code broken_link;
    if (entries->is_regular_file(broken_link)) {
      paths.push_back(entries->path().lexically_relative(folder).generic_string());
    }
    if (paths.size() > kMaxFiles) fail_model("{}: more than {} files", shown(folder), kMaxFiles);
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

void Cache::link(const std::string& commit, const std::string& path, const std::string& etag) const {
  const fs::path name = snapshot(commit) / path;
  fs::path target;
  for (auto n = 2 + std::count(path.begin(), path.end(), '/'); n > 0; --n) target /= "..";
  target = target / "blobs" / etag;
  fs::create_directories(name.parent_path());
  std::error_code error;
  if (fs::read_symlink(name, error) == target) return;
  // Under another name first, so that the right one is never missing: a second process may be loading the file.
  const fs::path temporary = name.string() + fmt::format(".{}.tmp", ::getpid());
  fs::remove(temporary);
  fs::create_symlink(target, temporary);
  fs::rename(temporary, name);
}

std::optional<std::vector<std::string>> Cache::listing(const std::string& commit) const {
  const fs::path path = repo_ / "trees" / (commit + ".json");
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::nullopt;
  try {
    const Json tree = read_json_object(path);
    const Json* format = find_member(tree, "format_version");
    const Json* files = find_member(tree, "files");
    if (!format || *format != kListingFormat || !files || !files->is_object()) return std::nullopt;
    std::vector<std::string> paths;
    for (const auto& entry : files->items()) paths.push_back(entry.key());
    return paths;
  } catch (const Error&) {
    return std::nullopt;  // as huggingface_hub does: it is only a copy, and comes again from the hub
  }
}

void Cache::set_listing(const std::string& commit, const std::vector<RepoFile>& files) const {
  Json entries = Json::object();
  for (const RepoFile& file : files) {
    if (!file.n_bytes || file.blob_id.empty()) return;
    Json& entry = entries[file.path] = {{"size", *file.n_bytes}, {"blob_id", file.blob_id}};
    if (!file.lfs_sha256.empty()) {
      entry["lfs_sha256"] = file.lfs_sha256;
      entry["lfs_size"] = *file.n_bytes;
    }
  }
  const Json tree = {{"format_version", kListingFormat}, {"files", std::move(entries)}};
  write_file(repo_ / "trees" / (commit + ".json"), tree.dump(1));
}

}  // namespace packhorse::hub
