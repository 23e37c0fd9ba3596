#pragma once
// Line editing on a terminal. The one place that knows libedit.

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "app/cli/signals.h"

struct editline;  // libedit's
struct history;

namespace packhorse::cli {

/// Reads from standard input, which is a terminal, and shows on standard error. Keys are those of Emacs and of the
/// user's
/// ~/.editrc; the terminal is in its usual mode outside of read(). A bracketed paste goes into the line as it is, line
/// breaks included.
class LineEditor {
 public:
  /// Throws Error{io} when the terminal cannot be used.
  LineEditor();
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  enum class Event { line, interrupt, end };
  struct Input {
    Event event;
    std::string text;  // without the line's end; of an interrupt, what is thrown away
  };
  Input read(std::string_view prompt);

  /// Makes `text` the newest line that the up key brings back.
  void remember(const std::string& text);

 private:
  static char* show_prompt(editline* editor);
  static int read_char(editline* editor, wchar_t* out);
  static unsigned char paste(editline* editor, unsigned int);
  std::optional<char> next_byte();
  bool handle_signal();
  std::string typed() const;

  std::unique_ptr<std::FILE, int (*)(std::FILE*)> screen_;
  std::unique_ptr<history, void (*)(history*)> history_;
  std::unique_ptr<editline, void (*)(editline*)> editor_;  // refers to the two above
  SignalWatch* signals_ = nullptr;                         // during read()
  bool interrupted_ = false;
  std::string prompt_;
};

}  // namespace packhorse::cli
