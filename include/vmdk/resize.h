// Making a disk longer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/progress.h>
#include <vmdk/result.h>

namespace vmdk {

struct ResizeOptions {
  // How the image is opened; what it says of access, views and children is not looked at.
  OpenOptions open;
  Progress progress;  // bytes of the disk
  // Asked now and then; true ends the work with EINTR. May be empty.
  std::function<bool()> interrupted;
};

// Makes the disk `capacity` bytes long, a multiple of 512; what is new reads as zeros. Durable when
// it returns. A crash leaves the disk as long as it was, or as it is to be, and files that nothing
// names at worst. Hosted sparse extents are written anew, beside the old ones. The content id
// changes; an image with children beside it, or with a parent, is refused: all links of a chain
// have one size. kInvalidArgument: shorter than it is.
Status resize_image(FileSystem& file_system, const std::filesystem::path& image,
                    std::uint64_t capacity, const ResizeOptions& options);

}  // namespace vmdk
