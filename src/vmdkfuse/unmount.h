// Taking a mount out of the tree, as root or through fusermount3.
#pragma once

#include <string>

namespace vmdkfuse {

enum class Unmounted { kDone, kBusy, kFailed };

struct UnmountOutcome {
  Unmounted result = Unmounted::kFailed;
  std::string text;  // why, unless kDone
};

// Unmounts what is topmost at `mountpoint`. `detach`: also when it is in use; then users keep it
// until they close. May make requests to the mount, so somebody must serve it.
UnmountOutcome unmount(const std::string& mountpoint, bool detach);

}  // namespace vmdkfuse
