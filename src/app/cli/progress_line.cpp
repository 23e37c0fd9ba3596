#include "app/cli/progress_line.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "app/cli/terminal.h"
#include "packhorse/packhorse.h"

namespace packhorse::cli {
namespace {

struct Unit {
  double size;
  const char* name;
};

Unit unit_of(double n_bytes) {
  constexpr Unit kUnits[] = {{1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}};
  for (const Unit& unit : kUnits) {
    if (n_bytes >= unit.size) return unit;
  }
  return {1, "B"};
}

std::string time_text(double seconds) {
  const auto s = static_cast<uint64_t>(std::clamp(seconds, 0.0, 359999.0));
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60)
                  : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

std::string amount_text(const Progress& p) {
  if (!p.counts_bytes) return fmt::format("{}/{}", p.done, p.total);
  const Unit unit = unit_of(static_cast<double>(p.total));
  return fmt::format("{:.1f}/{:.1f} {}", static_cast<double>(p.done) / unit.size,
                     static_cast<double>(p.total) / unit.size, unit.name);
}

/// ", 350.0 MB/s, 0:01 left", or nothing while it would be a guess.
std::string speed_text(const Progress& p) {
  constexpr double kLeastSeconds = 0.3;
  if (p.seconds < kLeastSeconds || p.done <= p.first_done) return "";
  const double rate = static_cast<double>(p.done - p.first_done) / p.seconds;
  const std::string left = time_text(static_cast<double>(p.total - p.done) / rate);
  if (!p.counts_bytes) return fmt::format(", {:.0f}/s, {} left", rate, left);
  const Unit unit = unit_of(rate);
  return fmt::format(", {:.1f} {}/s, {} left", rate / unit.size, unit.name, left);
}

size_t terminal_width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

std::string progress_text(const Progress& given, size_t width) {
  Progress p = given;
  p.done = std::min(p.done, p.total);
  const double share = p.total > 0 ? static_cast<double>(p.done) / static_cast<double>(p.total) : 1;
  constexpr size_t kBarWidth = 20;
  const std::string front = fmt::format("{:<16} {:>3.0f}%", p.what, std::floor(share * 100));
  const std::string back = " " + amount_text(p) + speed_text(p);
  std::string text = front + back;
  if (text.size() + kBarWidth + 3 <= width) {
    const auto n_full = static_cast<size_t>(share * kBarWidth);
    text = fmt::format("{} [{:<{}}]{}", front, std::string(n_full, '#'), kBarWidth, back);
  }
  return text.substr(0, width);
}

void ProgressLine::update(std::string_view what, uint64_t done, uint64_t total) {
  constexpr std::chrono::milliseconds kInterval{50};
  const Clock::time_point now = Clock::now();
  if (done >= total) {
    what_.clear();
    return clear();
  }
  if (what != what_) {
    what_ = what;
    first_done_ = done;
    begin_ = now;
  } else if (now - last_shown_ < kInterval) {
    return;
  }
  last_shown_ = now;
  const std::string name = printable(what, 40);
  show(progress_text({.what = name,
                      .done = done,
                      .total = total,
                      .first_done = first_done_,
                      .seconds = std::chrono::duration<double>(now - begin_).count(),
                      .counts_bytes = counts_bytes_},
                     terminal_width() - 1));
}

void ProgressLine::show(const std::string& text) {
  if (text == shown_) return;
  write_stderr(fmt::format("\r{:<{}}\r{}", "", shown_.size(), text));
  shown_ = text;
}

}  // namespace packhorse::cli
