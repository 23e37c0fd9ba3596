#pragma once
// One file from the hub into blobs/.

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "engine/hub/cache.h"
#include "engine/hub/client.h"
#include "packhorse/packhorse.h"

namespace packhorse::hub {

/// What `on_progress` is told, about ten times a second and also while nothing comes: it is where Ctrl-C takes effect.
class Progress {
 public:
  Progress(std::string what, const ProgressFn& on_progress) : what_(std::move(what)), on_progress_(on_progress) {}

  void set_total(uint64_t n_bytes) { total_ = n_bytes; }
  /// Bytes of the file at hand.
  void set_current(uint64_t n_bytes) {
    current_ = n_bytes;
    tick();
  }
  /// The file at hand is there.
  void finish_file(uint64_t n_bytes) {
    finished_ += n_bytes;
    set_current(0);
  }
  void tick();

 private:
  std::string what_;
  const ProgressFn& on_progress_;
  uint64_t total_ = 0, finished_ = 0, current_ = 0;  // a total of 0 is not known yet
  std::chrono::steady_clock::time_point last_{};
};

/// Brings the content of a file to cache.blob(etag), unless it is there: what an earlier attempt left is continued,
/// size and checksum are compared, and only then it gets that name. Of several processes one downloads and the others
/// wait. Throws Error{io, model} and NetworkError.
void download_blob(Client& client, const Cache& cache, const std::string& commit, const FileInfo& file,
                   Progress& progress);

/// Is the content there, in the size that it should have?
bool has_blob(const Cache& cache, const FileInfo& file);

}  // namespace packhorse::hub
