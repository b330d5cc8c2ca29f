// Why a place of a disk cannot be read, or written.
#pragma once

#include <vmdk/result.h>
#include <vmdk/units.h>

#include "disk/image.h"

namespace vmdk {

// kIo for the run of `part` at `at`, which is RunKind::kUnreadable: names the file, the byte of the
// disk and, where there is one, the grain.
Error unreadable(const Image& image, const Image::Part& part, DiskOffset at);
// The same for a write.
Error unwritable(const Image& image, const Image::Part& part, DiskOffset at);

}  // namespace vmdk
