// vmdkfuse -u
#pragma once

#include <string>
#include <vector>

namespace vmdkfuse {

// For each mountpoint: writes everything back and asks for the verdict on the data, unmounts in
// this mount namespace, and waits until the daemon has closed the image. Messages go to stderr.
// Returns the first exit code that is not kOk.
int unmount_all(const std::vector<std::string>& mountpoints);

}  // namespace vmdkfuse
