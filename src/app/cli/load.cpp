#include "app/cli/load.h"

#include <fmt/format.h>
#include <unistd.h>

#include "app/cli/terminal.h"

namespace packhorse::cli {
namespace {

/// One line that is rewritten as work goes on and vanishes in the end, also when loading fails.
class ProgressLine {
 public:
  ~ProgressLine() { show(""); }
  void update(std::string_view what, uint64_t done, uint64_t total) {
    const uint64_t percent = total ? done * 100 / total : 100;
    show(fmt::format("{}: {}%", printable(what, 60), percent));
  }

 private:
  void show(const std::string& text) {
    if (text == shown_) return;
    write_stderr(fmt::format("\r{:<{}}\r{}", "", shown_.size(), text));
    shown_ = text;
  }
  std::string shown_;
};

}  // namespace

Engine load_engine(EngineOptions options) {
  ProgressLine line;
  if (is_terminal(STDERR_FILENO)) {
    options.on_progress = [&line](std::string_view what, uint64_t done, uint64_t total) {
      line.update(what, done, total);
    };
  }
  return Engine(options);
}

}  // namespace packhorse::cli
