#include "disk/image_file.h"

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "disk/ova.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

Result<std::unique_ptr<File>> open_inside(std::unique_ptr<File> archive, std::string_view name,
                                          Access access) {
  ASSIGN_OR_RETURN(auto disk, open_disk(std::move(archive), name));
  if (access == Access::kReadWrite)
    return Error::from_errno(EROFS, disk->name())
        .with_hint(
            "-r mounts it read-only; --overlay=FILE writes to a child beside it; tar -xf "
            "unpacks it");
  return disk;
}

}  // namespace

Result<std::unique_ptr<File>> open_image(const Opener& open, const fs::path& path, Access access) {
  auto file = open(path, access);
  if (file) {
    ASSIGN_OR_RETURN(const bool archive, is_tar(**file));
    return archive ? open_inside(*std::move(file), {}, access) : std::move(file);
  }
  if (file.error().code() != ErrorCode::kNotFound)
    return file;
  const std::string& name = path.native();
  for (std::size_t colon = name.find(':', 1); colon != std::string::npos && colon + 1 < name.size();
       colon = name.find(':', colon + 1)) {
    auto outer = open(name.substr(0, colon), Access::kReadOnly);
    if (!outer)
      continue;
    ASSIGN_OR_RETURN(const bool archive, is_tar(**outer));
    if (archive)
      return open_inside(*std::move(outer), std::string_view(name).substr(colon + 1), access);
  }
  return file;
}

Result<std::unique_ptr<File>> open_image(FileSystem& file_system, const fs::path& path,
                                         Access access) {
  return open_image([&](const fs::path& each, Access how) { return file_system.open(each, how); },
                    path, access);
}

}  // namespace vmdk
