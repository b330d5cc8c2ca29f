// What the check says of an image that an exerciser left.
#pragma once

#include <filesystem>

#include <vmdk/io.h>
#include <vmdk/result.h>

namespace vmdk::test {

// Fails when the image is damaged, or, without `may_leak`, is not clean. Returns whether it is
// clean.
Result<bool> require_sound(FileSystem& file_system, const std::filesystem::path& image,
                           bool may_leak);

// Repairs what a crash left; the image must be clean afterwards.
Status require_repairable(FileSystem& file_system, const std::filesystem::path& image);

}  // namespace vmdk::test
