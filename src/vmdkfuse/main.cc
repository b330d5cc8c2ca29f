#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "io/standard_streams.h"
#include "vmdkfuse/command_line.h"
#include "vmdkfuse/exit_codes.h"

int main(int argc, char** argv) {
  vmdk::open_standard_streams();
  try {
    const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
    return vmdkfuse::run_command_line(arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "vmdkfuse: internal error: %s\n", error.what());
    return vmdkfuse::kInternal;
  }
}
