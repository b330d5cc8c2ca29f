// The place where the disk is to appear.
#pragma once

#include <sys/types.h>

#include <string>

#include <vmdk/result.h>

namespace vmdkfuse {

struct Mountpoint {
  std::string path;        // absolute, without symbolic links
  bool directory = false;  // else a regular file
  bool stale = false;      // a FUSE mount whose daemon has died; `directory` is not known
};

// Errors name `given` and say the way out.
vmdk::Result<Mountpoint> find_mountpoint(const std::string& given);

// The same for something that is to be unmounted. Nobody but its owner may look into a mount, not
// even root; `directory` is not known then either.
vmdk::Result<Mountpoint> find_mounted(const std::string& given);

// Whether the file system of `device` is still mounted at `path` although nobody serves it any
// more.
bool is_dead_mount(const std::string& path, dev_t device);

}  // namespace vmdkfuse
