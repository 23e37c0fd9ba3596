#pragma once
// One repo in the hub cache, laid out as huggingface_hub does:
//
//   <cache>/models--org--name/refs/<revision>              text: the commit
//                             blobs/<etag>                 content of a file; <etag>.incomplete while it comes
//                             snapshots/<commit>/<path>    link to ../../blobs/<etag>
//                             trees/<commit>.json          all files of the commit, by the hub's listing
//   <cache>/.locks/models--org--name/<etag>.lock           held by the process that downloads

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace packhorse::hub {

/// A file in the listing of a repo.
struct RepoFile {
  std::string path;                 // as the hub says it: to be checked before it is used
  std::optional<uint64_t> n_bytes;  // these three may be missing
  std::string blob_id, lfs_sha256;
};

class Cache {
 public:
  Cache(const std::filesystem::path& root, std::string_view repo);

  /// Commit that a branch or tag points at; the revision itself where no such name is known. Throws Error{model}.
  std::string commit_of(const std::string& revision) const;
  void set_revision(const std::string& revision, const std::string& commit) const;

  std::filesystem::path snapshot(const std::string& commit) const { return repo_ / "snapshots" / commit; }
  bool has_file(const std::string& commit, const std::string& path) const;
  /// Paths of the files in a snapshot; none when it is not there.
  std::vector<std::string> files(const std::string& commit) const;
  /// Makes a snapshot's file, of a blob that is there.
  void link(const std::string& commit, const std::string& path, const std::string& etag) const;

  std::filesystem::path blob(const std::string& etag) const { return repo_ / "blobs" / etag; }
  std::filesystem::path partial(const std::string& etag) const { return repo_ / "blobs" / (etag + ".incomplete"); }
  std::filesystem::path lock(const std::string& etag) const { return locks_ / (etag + ".lock"); }

  /// Paths of all files that the commit has on the hub; nothing when that is not known.
  std::optional<std::vector<std::string>> listing(const std::string& commit) const;
  /// Keeps the listing, if it is as full as huggingface_hub expects it.
  void set_listing(const std::string& commit, const std::vector<RepoFile>& files) const;

 private:
  std::filesystem::path repo_, locks_;
};

}  // namespace packhorse::hub
