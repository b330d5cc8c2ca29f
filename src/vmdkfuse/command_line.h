// The program without its main().
#pragma once

#include <span>
#include <string>

namespace vmdkfuse {

// `arguments` without the program's name. Returns the exit code.
int run_command_line(std::span<const std::string> arguments);

}  // namespace vmdkfuse
