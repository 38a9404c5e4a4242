// Prints docs/cli.md: ./dev docs.
#include <cstdio>

#include "cli/command_line.h"

int main() {
  std::fputs(lambdo::cli::command_reference().c_str(), stdout);
  return 0;
}
