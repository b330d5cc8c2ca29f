#include "disk/successor.h"

#include "disk/path_policy.h"
#include "disk/write_guards.h"

namespace vmdk {

Result<std::unique_ptr<File>> replace_file(FileSystem& file_system,
                                           const std::filesystem::path& path, const File& old,
                                           const std::function<Status(File& file)>& fill) {
  const std::filesystem::path target = real_path(path);
  ASSIGN_OR_RETURN(auto file, file_system.create_successor(target));
  RETURN_IF_ERROR(lock_for_writing(*file));
  RETURN_IF_ERROR(fill(*file));
  RETURN_IF_ERROR(file->take_place_of(old));
  RETURN_IF_ERROR(file_system.sync_directory(target.parent_path()));
  return file;
}

}  // namespace vmdk
