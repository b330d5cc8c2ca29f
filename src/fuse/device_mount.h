// Mounting, apart from serving: one process has the right to mount, another one serves.
#pragma once

#include <string>
#include <vector>

#include <vmdk/result.h>

namespace vmdkfuse {

// Mounts on `mountpoint` (absolute): root by itself, others through fusermount3. `options` as in
// MountOptions. Returns an open descriptor of /dev/fuse, closed at exec and owned by the caller;
// whoever uses the mount waits until somebody serves it. The real user and group of this process
// become the owner of the mount. Not while a Server exists: libfuse has one log.
vmdk::Result<int> mount_device(const std::string& mountpoint,
                               const std::vector<std::string>& options);

}  // namespace vmdkfuse
