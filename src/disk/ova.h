// Disks inside an OVA, which is a tar archive of an OVF package.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

namespace vmdk {

// A file of the archive that is, or seems to be, a disk.
struct OvaDisk {
  std::string name;        // in the archive
  FileOffset begin;        // of its bytes in the archive
  std::uint64_t size = 0;  // bytes
  std::string obstacle;    // why it cannot be opened where it is; empty: it can
};

// Whether the file is a tar archive.
Result<bool> is_tar(const File& file);

// Reads the headers of the archive, not what is between them. kCorrupt, with the place, when they
// cannot be right; kUnsupported when there are too many.
Result<std::vector<OvaDisk>> list_disks(const File& archive);

// Opens the disk `name`, its last component being enough where no other disk has the same, or the
// only one when `name` is empty; for reading. Errors list the disks.
Result<std::unique_ptr<File>> open_disk(std::unique_ptr<File> archive, std::string_view name);

}  // namespace vmdk
