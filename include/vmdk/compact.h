// Giving back the space that an image does not need.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/progress.h>
#include <vmdk/result.h>

namespace vmdk {

struct CompactOptions {
  // How the image and its parents are opened; what it says of access and views is not looked at.
  OpenOptions open;
  // Where the result goes; empty: in the place of the image.
  std::filesystem::path to;
  Progress progress;  // bytes of the disk
  // Asked now and then; true ends the work with EINTR. May be empty.
  std::function<bool()> interrupted;
};

struct CompactReport {
  std::uint64_t bytes_before = 0;  // that the image's extents take of the host
  std::uint64_t bytes_after = 0;
  std::filesystem::path parent;  // of the image; empty: it has none
};

// Writes each hosted sparse extent of the image anew, with the grains that are in use and not all
// zeros, one behind the other, and puts it in the place of the old one, with its owner and
// permissions, unless it takes more of the host than that. Blocks of 4 KiB of zeros inside grains
// are holes of the new file. Durable when it returns. The disk shows the same, and the content id
// stays, so that children stay readable. A crash leaves of each extent the old file or the new one,
// which show the same. kUnsupported for other kinds, and for files with more than one name.
Result<CompactReport> compact_image(FileSystem& file_system, const std::filesystem::path& image,
                                    const CompactOptions& options);

}  // namespace vmdk
