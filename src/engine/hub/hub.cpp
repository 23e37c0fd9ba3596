#include "engine/hub/hub.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/cached_file.h"
#include "base/error.h"
#include "engine/hub/cache.h"
#include "engine/hub/client.h"
#include "engine/hub/download.h"

namespace packhorse::hub {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kWorthALine = 1'000'000;

/// One repo id on its way to a path.
class Fetch {
 public:
  Fetch(const Reference& reference, Need need, const Settings& settings)
      : reference_(reference),
        need_(need),
        settings_(settings),
        cache_(settings_.cache, reference.repo),
        progress_("Downloading " + reference.repo, settings_.on_progress),
        client_(settings_, reference.repo, [this] { progress_.tick(); }) {}

  std::string run() {
    const std::string commit = cache_.commit_of(settings_.revision);
    if (const auto path = find_certain(commit)) return *path;
    if (settings_.offline) return find_or_fail(commit, "HF_HUB_OFFLINE is set");
    if (reference_.repo.find('/') == std::string::npos) return find_or_fail(commit, "a repo id is OWNER/NAME");
    try {
      return download();
    } catch (const NetworkError& error) {
      if (const auto path = find_in_snapshot(commit)) {
        fmt::print(stderr, "{}: {}; using what the cache has\n", settings_.endpoint.text(), error.what());
        return *path;
      }
      fail(
          ErrorKind::io,
          "'{}': no such path, not in the hub cache, and cannot be fetched from {}: {} (HF_ENDPOINT names another hub, "
          "HTTPS_PROXY a proxy; the path of a model needs neither)",
          reference_.text(), settings_.endpoint.text(), error.what());
    }
  }

 private:
  std::string result(const std::string& commit, const FileChoice& choice) const {
    return choice.gguf.empty() ? cache_.snapshot(commit) : cache_.snapshot(commit) / choice.gguf;
  }

  bool has_all(const std::string& commit, const FileChoice& choice) const {
    const auto is_there = [&](const std::string& path) {
      return is_safe_relative_path(path) && cache_.has_file(commit, path);
    };
    const auto all = [&](const std::vector<std::string>& paths) {
      return std::all_of(paths.begin(), paths.end(), is_there);
    };
    if (!all(choice.small) || !all(choice.weights)) return false;
    return choice.index.empty() || all(shards_of_index(cache_.snapshot(commit) / choice.index));
  }

  /// What of `paths` is wanted, if all of it is in the cache.
  std::optional<FileChoice> choose_if_there(const std::string& commit, const std::vector<std::string>& paths) const {
    try {
      const FileChoice choice = choose_files(reference_, need_, paths);
      if (has_all(commit, choice)) return choice;
    } catch (const Error&) {  // the hub may know more than the cache, and then says what is wrong
    }
    return std::nullopt;
  }

  /// Path of what the cache holds for sure: by the hub's own listing, or because nothing else can be meant.
  std::optional<std::string> find_certain(const std::string& commit) const {
    if (const auto listing = cache_.listing(commit)) {
      const auto choice = choose_if_there(commit, *listing);
      if (choice) return result(commit, *choice);
    }
    const std::vector<std::string> paths = cache_.files(commit);
    const auto has = [&](std::string_view path) { return std::find(paths.begin(), paths.end(), path) != paths.end(); };
    const auto choice = choose_if_there(commit, paths);
    const bool has_tokenizer = has("tokenizer.json") || has("tokenizer.model");
    const bool certain = choice && !choice->is_default_gguf && (!choice->gguf.empty() || has_tokenizer);
    return certain ? std::optional(result(commit, *choice)) : std::nullopt;
  }

  std::optional<std::string> find_in_snapshot(const std::string& commit) const {
    const auto choice = choose_if_there(commit, cache_.files(commit));
    return choice ? std::optional(result(commit, *choice)) : std::nullopt;
  }

  std::string find_or_fail(const std::string& commit, std::string_view why) const {
    if (const auto path = find_in_snapshot(commit)) return *path;
    fail_model(
        "'{}': no such path, and revision '{}' of that repo is not in the hub cache, or not all that is needed (looked "
        "for {}; {}); HF_HOME or --download-dir name another cache",
        reference_.text(), settings_.revision, shown(cache_.snapshot(commit)), why);
  }

  std::string download() {
    progress_.tick();
    const RepoListing listing = client_.list();
    std::vector<std::string> paths;
    for (const RepoFile& file : listing.files) paths.push_back(file.path);
    const FileChoice choice = choose_files(reference_, need_, paths);
    if (has_all(listing.commit, choice)) {  // known by another name, or before the hub was asked
      finish(listing, {});
      return result(listing.commit, choice);
    }
    std::vector<FileInfo> files = describe(listing.commit, choice.small);
    fetch_blobs(listing.commit, files);
    std::vector<std::string> weights = choice.weights;
    if (!choice.index.empty()) weights = find_shards(choice.index, files);
    const std::vector<FileInfo> described = describe(listing.commit, weights);
    fetch_blobs(listing.commit, described);
    files.insert(files.begin(), described.begin(), described.end());
    finish(listing, files);
    return result(listing.commit, choice);
  }

  std::vector<std::string> find_shards(const std::string& index, const std::vector<FileInfo>& files) const {
    const auto file = std::find_if(files.begin(), files.end(), [&](const FileInfo& f) { return f.path == index; });
    return shards_of_index(cache_.blob(file->etag));
  }

  std::vector<FileInfo> describe(const std::string& commit, const std::vector<std::string>& paths) {
    std::vector<FileInfo> files;
    for (const std::string& path : paths) {
      if (!is_safe_relative_path(path)) {
        fail_model("'{}': the repo has a file whose name leads elsewhere (got '{}')", reference_.repo, printable(path));
      }
      files.push_back(client_.describe(commit, path));
    }
    return files;
  }

  void fetch_blobs(const std::string& commit, const std::vector<FileInfo>& files) {
    uint64_t n_missing = 0, n_files = 0;
    for (const FileInfo& file : files) {
      if (has_blob(cache_, file)) continue;
      if (__builtin_add_overflow(n_missing, file.n_bytes, &n_missing)) {
        fail_model("'{}': the sizes of its files are beyond all limits", reference_.repo);
      }
      ++n_files;
    }
    if (n_files == 0) return;
    fs::create_directories(cache_.blob("").parent_path());
    require_space(settings_.cache, n_missing);
    progress_.set_total(n_missing);
    if (n_missing >= kWorthALine) {
      fmt::print(stderr, "downloading {} ({} MB) to {}\n", reference_.text(), n_missing / 1'000'000,
                 shown(settings_.cache));
    }
    for (const FileInfo& file : files) {
      if (has_blob(cache_, file)) continue;
      download_blob(client_, cache_, commit, file, progress_);
      progress_.finish_file(file.n_bytes);
    }
  }

  /// Only now the snapshot shows the files, weights first: what looks complete is complete.
  void finish(const RepoListing& listing, const std::vector<FileInfo>& files) {
    for (const FileInfo& file : files) cache_.link(listing.commit, file.path, file.etag);
    cache_.set_listing(listing.commit, listing.files);
    cache_.set_revision(settings_.revision, listing.commit);
  }

  const Reference& reference_;
  Need need_;
  const Settings& settings_;
  Cache cache_;
  Progress progress_;
  Client client_;
};

}  // namespace

std::string fetch(const Reference& reference, Need need, const Settings& settings) {
  try {
    return Fetch(reference, need, settings).run();
  } catch (const fs::filesystem_error& e) {
    fail(ErrorKind::io, "{}: {}", shown(e.path1()), e.code().message());
  }
}

}  // namespace packhorse::hub
