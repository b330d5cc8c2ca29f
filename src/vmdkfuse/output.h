// What the verbs print for other programs to read.
#pragma once

#include <string>

namespace vmdkfuse {

// Prints to the standard output. A full disk behind a redirection is said on stderr and does not
// look like success: returns kOk or kSystem.
int print_result(const std::string& text);

}  // namespace vmdkfuse
