// The daemon: from opening the image to the last byte on disk.
#pragma once

#include "vmdkfuse/launcher.h"
#include "vmdkfuse/options.h"

namespace vmdkfuse {

// Opens, mounts, reports, serves until the kernel ends the mount, closes. Returns the exit code;
// not kOk when the last commit failed.
int run_daemon(const Options& options, Reporter& reporter);

}  // namespace vmdkfuse
