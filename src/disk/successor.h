// Putting a new file in the place of one that has a name.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include <vmdk/io.h>
#include <vmdk/result.h>

namespace vmdk {

// Makes a file that `fill` leaves durable, and gives it the name of `old`, which `path` leads to,
// symbolic links followed. Whenever it ends, the name leads to one of the two, whole. The new file
// is locked for writing from before it has its name until it is closed.
Result<std::unique_ptr<File>> replace_file(FileSystem& file_system,
                                           const std::filesystem::path& path, const File& old,
                                           const std::function<Status(File& file)>& fill);

}  // namespace vmdk
