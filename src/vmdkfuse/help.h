// What --help, --help-all and --version print.
#pragma once

#include <string>

namespace vmdkfuse {

// At most 24 lines of 80 columns.
std::string help_text();
// Every option.
std::string full_help_text();
// One "key: value" a line.
std::string version_text();

}  // namespace vmdkfuse
