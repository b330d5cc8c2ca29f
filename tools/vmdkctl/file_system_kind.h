// Which file system a part of a disk holds, as libblkid recognises it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <vmdk/disk.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

namespace vmdkctl {

struct FileSystemKind {
  std::string type;   // "ext4", "ntfs", "swap", "LVM2_member"...
  std::string label;  // bytes of the image; empty: none
  std::string uuid;   // empty: none
};

// nullopt: nothing that is known, or more than one thing. Reads and keeps at most some MiB of the
// part, whatever stands there.
vmdk::Result<std::optional<FileSystemKind>> recognise(vmdk::Disk& disk, vmdk::DiskOffset begin,
                                                      std::uint64_t length);

}  // namespace vmdkctl
