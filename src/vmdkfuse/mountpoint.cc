#include "vmdkfuse/mountpoint.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "vmdkfuse/mount_table.h"

namespace vmdkfuse {
namespace {

using vmdk::Error;
using vmdk::ErrorCode;
using vmdk::Result;

// The last component of a mount that is dead or another's cannot be looked at, its folder can.
Result<std::string> resolve_folder_of(const std::string& given) {
  std::filesystem::path path = std::filesystem::path(given).lexically_normal();
  if (!path.has_filename())
    path = path.parent_path();
  std::error_code error;
  const auto folder = std::filesystem::canonical(
      path.has_parent_path() ? path.parent_path() : std::filesystem::path("."), error);
  if (error)
    return Error::from_errno(error.value(), given);
  return (folder / path.filename()).string();
}

// As stat(2), but asks whoever serves the file: the attributes that the kernel keeps of a dead
// mount would hide that it is dead. Returns the errno, 0 when it was found.
int look_at(const std::string& path, mode_t& mode) noexcept {
  struct statx found {};

  if (statx(AT_FDCWD, path.c_str(), AT_STATX_FORCE_SYNC, STATX_TYPE, &found) != 0)
    return errno;
  mode = found.stx_mode;
  return 0;
}

}  // namespace

Result<Mountpoint> find_mountpoint(const std::string& given) {
  if (given.starts_with("/dev/fd/"))
    return Error::make(ErrorCode::kUnsupported,
                       fmt::format("{}: drop_privileges of mount(8) is not supported", given))
        .with_hint("-o setuid=USER mounts as another user");
  Mountpoint result;
  mode_t mode = 0;
  if (const int why = look_at(given, mode); why != 0) {
    if (why == ENOTCONN) {
      ASSIGN_OR_RETURN(result.path, resolve_folder_of(given));
      result.stale = true;
      return result;
    }
    Error error = Error::from_errno(why, given);
    if (why == ENOENT)
      return std::move(error).with_hint(
          fmt::format("touch {0} makes a file that becomes the disk, mkdir {0} a directory that "
                      "shows it as \"flat\"",
                      given));
    return error;
  }
  if (!S_ISDIR(mode) && !S_ISREG(mode))
    return Error::make(ErrorCode::kInvalidArgument,
                       fmt::format("{}: neither a directory nor a regular file", given));
  std::error_code error;
  result.path = std::filesystem::canonical(given, error).string();
  if (error)
    return Error::from_errno(error.value(), given);
  result.directory = S_ISDIR(mode);
  return result;
}

Result<Mountpoint> find_mounted(const std::string& given) {
  mode_t mode = 0;
  if (look_at(given, mode) != EACCES)
    return find_mountpoint(given);
  Mountpoint result;
  ASSIGN_OR_RETURN(result.path, resolve_folder_of(given));
  return result;
}

// The number alone proves nothing: the kernel may have given it to the next mount.
bool is_dead_mount(const std::string& path, dev_t device) {
  const auto top = mount_at(path);
  mode_t mode = 0;
  return top && top->device == device && look_at(path, mode) == ENOTCONN;
}

}  // namespace vmdkfuse
