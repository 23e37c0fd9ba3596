#pragma once
// How long calls of xgrammar may take, in CPU time of the calling thread: other work of the machine does not count.

#include <cstdint>
#include <stdexcept>
#include <string>

namespace packhorse {

class XgrammarOutOfTime : public std::runtime_error {
 public:
  XgrammarOutOfTime() : std::runtime_error("out of time") {}
};

/// While it lives, calls of xgrammar on this thread throw XgrammarOutOfTime once its time is up. They do not nest.
class XgrammarTime {
 public:
  explicit XgrammarTime(double seconds);
  ~XgrammarTime();
  XgrammarTime(const XgrammarTime&) = delete;
  XgrammarTime& operator=(const XgrammarTime&) = delete;
  /// Seconds since it began.
  double used() const;
  /// The first thing that xgrammar said it would pass over, since this began; empty when there is none.
  static const std::string& warning();

 private:
  double begin_;
};

/// For the library.
void keep_xgrammar_warning(const std::string& message);

}  // namespace packhorse
