// What vmdkfuse returns: mount(8)'s codes.
#pragma once

namespace vmdkfuse {

enum ExitCode : int {
  kOk = 0,
  kUsage = 1,
  kSystem = 2,    // the system failed us; of -u and the daemon: the last commit failed
  kInternal = 4,  // a bug of ours, or the daemon died
  kInterrupted = 8,
  kMountFailed = 32,  // of -u: busy
  kStillServed = 64,  // -u: unmounted here, but the disk is still in use elsewhere
};

}  // namespace vmdkfuse
