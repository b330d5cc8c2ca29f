// vmdkfuse --list
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "vmdkfuse/mount_table.h"

namespace vmdkfuse {

struct ListedMount {
  MountEntry mount;
  std::optional<pid_t> daemon = {};      // where its socket can be reached
  std::optional<int> landlock_abi = {};  // what restricts it, 0: nothing; where it says so
};

// One line a mount: image, mode, mountpoint, pid, in columns.
std::string mounts_as_text(const std::vector<ListedMount>& mounts);
std::string mounts_as_json(const std::vector<ListedMount>& mounts);

// Prints our mounts of this mount namespace.
int list_mounts(bool json);

}  // namespace vmdkfuse
