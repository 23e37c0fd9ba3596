#pragma once
// Running another program, without a shell.

#include <string>
#include <vector>

namespace packhorse {

struct ProcessResult {
  int status = 0;          // exit status, or 128 + the signal that ended it
  std::string error_text;  // end of what it wrote to standard error
};

/// Runs `arguments[0]` (searched in PATH) with empty input and waits for it. Its standard output goes to our standard
/// error with `show_output`, else nowhere. It is interrupted (SIGINT) when the calling thread ends, be it by the death
/// of the process. Throws Error{io} when it cannot be started.
ProcessResult run_process(const std::vector<std::string>& arguments, bool show_output = false);

}  // namespace packhorse
