// What speaks against writing to an image, found in its folder.
#pragma once

#include <filesystem>
#include <optional>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/result.h>

#include "disk/image_text.h"

namespace vmdk {

// Success where the file system has no locks, too: whoever opens an image for good warns of that.
Status lock_for_writing(File& file);

// kBusy when VMware's lock folder (or an old lock file) stands beside the image or one of its
// extents. Another error when that cannot be found out.
Status require_no_vmware_locks(FileSystem& file_system, const std::filesystem::path& image,
                               const Descriptor& descriptor);

// kBusy when another image in the folder of `image`, or of the file that a symbolic link `image`
// leads to, names this one as its parent: writing would change the content id, and that child could
// not be opened any more. It may have any name, as overlays may. Children that are stale already,
// and files that cannot be read, do not count; nor does the file `except`.
Status require_no_children(FileSystem& file_system, const std::filesystem::path& image,
                           const Descriptor& descriptor,
                           const std::optional<FileId>& except = std::nullopt);

}  // namespace vmdk
