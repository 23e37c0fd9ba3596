#pragma once
// The hub's API: what a repo holds, and the bytes of its files.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/hub/cache.h"
#include "engine/hub/http_client.h"
#include "engine/hub/network_error.h"
#include "engine/hub/settings.h"

namespace packhorse::hub {

struct RepoListing {
  std::string commit;
  std::vector<RepoFile> files;
};

/// One file as it is to be stored. Its content is known by the etag: SHA-256 for large files, git's SHA-1 for others.
struct FileInfo {
  std::string path, etag;
  uint64_t n_bytes = 0;
};

/// Takes the bytes of a file.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  /// The server sends from here on: where it was asked to begin, or 0.
  virtual void begin_at(uint64_t offset) = 0;
  virtual void append(std::span<const std::byte> data) = 0;
};

class Client {
 public:
  /// `tick` is called about ten times a second while there is something to wait for; it may throw.
  Client(const Settings& settings, std::string repo, std::function<void()> tick);

  /// What the revision of the settings holds. All members throw NetworkError when they gave up, Error{model} when the
  /// hub says no.
  RepoListing list();
  FileInfo describe(const std::string& commit, const std::string& path);
  /// One attempt to bring the bytes from `offset` on.
  void read(const std::string& commit, const FileInfo& file, uint64_t offset, ByteSink& sink);

  /// Waits before the next attempt after `n_failed` (1, 2, ...) that brought nothing; throws `error` on when there
  /// shall be none.
  void wait_after(const NetworkError& error, int n_failed);

 private:
  HttpResponse send_with_retries(const HttpRequest& request, const std::string& path, std::string* body);
  HttpRequest make_request(const std::string& target) const;
  void check_status(const HttpResponse& response, const std::string& path) const;

  const Settings& settings_;
  std::string repo_;
  std::function<void()> tick_;
  HttpClient http_;
  bool was_answered_ = false;
};

}  // namespace packhorse::hub
