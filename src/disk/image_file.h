// From the name of an image to its file, also where that is inside another one.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include <vmdk/io.h>
#include <vmdk/result.h>

namespace vmdk {

using Opener =
    std::function<Result<std::unique_ptr<File>>(const std::filesystem::path& path, Access access)>;

// Opens "disk.vmdk"; "app.ova", if one disk is in it; "app.ova:disk.vmdk". A file whose name is the
// whole of it goes first. EROFS for a disk in an archive that is to be written to. `open` decides
// which files may be opened.
Result<std::unique_ptr<File>> open_image(const Opener& open, const std::filesystem::path& path,
                                         Access access);

// The same for what the user named.
Result<std::unique_ptr<File>> open_image(FileSystem& file_system, const std::filesystem::path& path,
                                         Access access);

}  // namespace vmdk
