#pragma once
// Standard output, terminals and signals of the command line.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace packhorse::cli {

bool is_terminal(int descriptor);
/// A terminal that wants colours: NO_COLOR is unset or empty and TERM is not "dumb".
bool wants_color(int descriptor);

/// Writes all of `text` at once. Throws Error{io} when standard output is closed or full.
void write_stdout(std::string_view text);
/// Diagnostics; a closed standard error is ignored.
void write_stderr(std::string_view text);
/// A line of diagnostics, dim where there are colours.
void write_note(std::string_view line);

/// Generated text as a terminal may show it: without control characters, which could move the cursor or worse.
std::string without_controls(std::string_view text);

/// SIGINT and SIGTERM end the process with 130 and 143 (nothing is buffered, so nothing is lost); SIGPIPE and SIGXFSZ
/// are ignored and show as a failed write.
void install_signal_handlers();

/// Standard input line by line, each as soon as it is there.
class StdinLines {
 public:
  /// Without the line's end; nothing at the end of the input. Throws Error{io}, and Error{request} beyond 32 MB.
  std::optional<std::string> next();

 private:
  std::string buffer_;
};
/// All of standard input. Throws Error{io}, and Error{request} beyond 32 MB.
std::string read_stdin();
/// All of a file. Throws Error{io}, and Error{usage} for what is no regular file or too large.
std::string read_text_file(const std::string& path);

}  // namespace packhorse::cli
