// The mounts of our mount namespace.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vmdkfuse {

inline constexpr const char* kFileSystemType = "fuse.vmdkfuse";

struct MountEntry {
  dev_t device = 0;
  std::string mountpoint;
  std::string type;
  std::string source;
  bool read_only = false;
  std::optional<uid_t> user_id;  // of FUSE mounts: who mounted
};

// Reads the text of /proc/self/mountinfo; lines that are none are left out.
std::vector<MountEntry> parse_mount_table(std::string_view text);
std::vector<MountEntry> read_mount_table();

// The topmost mount at exactly this path.
std::optional<MountEntry> mount_at(const std::string& mountpoint);

}  // namespace vmdkfuse
