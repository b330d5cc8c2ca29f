// The child that takes the writes in place of an image.
#pragma once

#include <filesystem>
#include <memory>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/result.h>

#include "disk/new_files.h"
#include "disk/path_policy.h"

namespace vmdk {

struct OverlayFile {
  std::filesystem::path path;  // of a file without a name: what messages call it
  std::unique_ptr<File> file;  // open for reading and writing
  NewFiles made;               // the same file if this call made it; to be kept by who can use it
};

// Makes options.overlay over `image`, or opens the one that is there. kInvalidArgument when what is
// there is something else, kStaleParent when it was made over another content of the image. The
// image is only read; what an overlay that is there names is opened by `policy`. Requires:
// options.overlay.
Result<OverlayFile> open_overlay(FileSystem& file_system, const PathPolicy& policy,
                                 const std::filesystem::path& image, const OpenOptions& options);

}  // namespace vmdk
