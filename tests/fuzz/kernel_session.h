// The request handlers and their loop, without a kernel and without a mount.
#pragma once

#include <vmdk/disk.h>

#include "fuse/server.h"
#include "kernel_side.h"

namespace vmdk::test {

// Serves what `kernel` sends until it says that the mount is gone. Returns what the loop does: 0,
// or a negative errno. One at a time in a process.
int serve_messages(Disk& disk, const vmdkfuse::MountOptions& options, KernelSide& kernel);

}  // namespace vmdk::test
