#include "app/cli/cli.h"

int main(int argc, char** argv) { return packhorse::cli::run_program(argc, argv); }
