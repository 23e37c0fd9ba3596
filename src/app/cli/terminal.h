#pragma once
// Standard output, terminals and signals of the command line.

#include <cstdint>
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

/// Generated text as a terminal may show it: without control characters, which could move the cursor or worse.
std::string without_controls(std::string_view text);

/// SIGINT and SIGTERM end the process with 130 and 143 (nothing is buffered, so nothing is lost); SIGPIPE is ignored
/// and shows as a failed write.
void install_signal_handlers();

/// All of standard input. Throws Error{io}, and Error{request} beyond 32 MB.
std::string read_stdin();
/// All of a file. Throws Error{io}, and Error{usage} for what is no regular file or too large.
std::string read_text_file(const std::string& path);

}  // namespace packhorse::cli
