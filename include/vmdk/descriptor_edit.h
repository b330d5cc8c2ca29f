// What an image says of itself: shown, changed, made anew.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/progress.h>
#include <vmdk/result.h>

namespace vmdk {

struct DescriptorEditOptions {
  bool force_stale_lck = false;  // although a VMware lock folder is there
  // Where a whole file has to be copied; true ends it with EINTR. May be empty.
  std::function<bool()> interrupted;
};

// The text of the descriptor, as it is in the file.
Result<std::string> read_descriptor(FileSystem& file_system, const std::filesystem::path& image);

// Gives a `ddb.` key another value, or the image the key. Not those that tell which content the
// disk has: kInvalidArgument, as for other keys, which say how the disk is put together. Durable
// when it returns; a crash leaves the old text or the new one. The content id stays.
Status set_descriptor_value(FileSystem& file_system, const std::filesystem::path& image,
                            std::string_view key, std::string_view value,
                            const DescriptorEditOptions& options);

// Makes a descriptor that cannot be read, or is missing, from what the image's files say: the
// header of a hosted sparse image, or the files beside it that are named after it
// ("disk-flat.vmdk", "disk-s001.vmdk", ...). kInvalidArgument when there is one that can be read.
// Whether the image had a parent nobody knows: the new descriptor says that it has none, and that
// the adapter is IDE. Returns the text.
Result<std::string> rebuild_descriptor(FileSystem& file_system, const std::filesystem::path& image,
                                       const DescriptorEditOptions& options);

}  // namespace vmdk
