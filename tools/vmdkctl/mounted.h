// Disks that are mounted, by their mountpoints.
#pragma once

#include <filesystem>
#include <string>

#include <vmdk/result.h>

namespace vmdkctl {

struct MountedDisk {
  std::filesystem::path mountpoint;
  bool directory = false;  // with `flat` and others in it
};

// kInvalidArgument, with a hint, where no vmdkfuse is mounted.
vmdk::Result<MountedDisk> find_mounted(const std::string& mountpoint);

}  // namespace vmdkctl
