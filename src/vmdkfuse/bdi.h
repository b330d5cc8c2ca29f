// The kernel's read-ahead and dirty limits of one mount, which only root may change.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace vmdkfuse {

// Raises them for the mount with this device number. Returns one line for each, what was there and
// what is there now or why not.
std::vector<std::string> tune_bdi(dev_t device);

}  // namespace vmdkfuse
