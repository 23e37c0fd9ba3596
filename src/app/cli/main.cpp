#include <fcntl.h>

#include "app/cli/cli.h"

int main(int argc, char** argv) {
  // A standard stream that is closed would lend its number to the next file, which would then get what is meant for it.
  for (int descriptor = 0; descriptor <= 2; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) < 0 && ::open("/dev/null", O_RDWR) < 0) return 5;
  }
  return packhorse::cli::run_program(argc, argv);
}
