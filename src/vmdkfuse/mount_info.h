// The text of `.vmdkfuse/info.json`: what is mounted, for programs.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <vmdk/disk.h>

#include "fuse/server.h"
#include "vmdkfuse/options.h"

namespace vmdkfuse {

// One JSON object and a line end. `folder`: that of relative names. Any thread.
std::string mount_info_json(const std::filesystem::path& folder, const Options& options,
                            const MountOptions& mount, const vmdk::Disk& disk,
                            const std::vector<ShownFile>& files);

}  // namespace vmdkfuse
