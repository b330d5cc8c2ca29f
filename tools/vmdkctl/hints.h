// Hints of the library for whoever works with a verb.
#pragma once

#include <string>
#include <string_view>

#include "vmdkctl/options.h"

namespace vmdkctl {

// The library speaks of the mount's options. Those that the verb lacks get the program's name
// before them: "-r mounts it read-only" becomes "vmdkfuse -r mounts it read-only". What says
// already whose it is ("vmdkctl check --repair") stays.
std::string hint_for(const Usage& usage, std::string_view hint);

}  // namespace vmdkctl
