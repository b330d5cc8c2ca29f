#include "io/posix_file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <vmdk/posix.h>

#include "io/beneath.h"
#include "io/posix_file.h"
#include "io/retry.h"
#include "io/unique_fd.h"
#include "io/way_to.h"

namespace vmdk {
namespace {

namespace fs = std::filesystem;

// The folder of "disk.vmdk" is "", by which the system means nothing.
fs::path folder_or_here(const fs::path& folder) {
  return folder.empty() ? fs::path(".") : folder;
}

const char* kind_of(mode_t mode) noexcept {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "a regular file";
    case S_IFIFO:
      return "a FIFO";
    case S_IFDIR:
      return "a directory";
    case S_IFCHR:
      return "a character device";
    case S_IFBLK:
      return "a block device";
    case S_IFSOCK:
      return "a socket";
    default:
      return "something else";
  }
}

// The system would take a name with a NUL in it for a shorter one.
Status check_name(const fs::path& name) {
  if (name.native().find('\0') == std::string::npos)
    return {};
  return Error::make(ErrorCode::kInvalidArgument,
                     fmt::format("{}: the name contains a NUL byte", name.c_str()));
}

enum class Wanted { kFile, kDevice };

// Opens for good what `found` (O_PATH) stands for, if it is what is wanted. Anything else is only
// looked at: opening a FIFO could wait for ever, opening a device could set it in motion. The way
// through /proc leads to the same file, whatever has been put in its place meanwhile.
Result<std::unique_ptr<File>> open_found(const UniqueFd& found, std::string name, Access access,
                                         Wanted wanted = Wanted::kFile) {
  struct stat st {};

  if (::fstat(found.get(), &st) != 0)
    return Error::from_errno(errno, name);
  const bool device = wanted == Wanted::kDevice;
  if (device ? !S_ISBLK(st.st_mode) : !S_ISREG(st.st_mode))
    return Error::make(ErrorCode::kUnsupported,
                       fmt::format("{}: not a {}: it is {}", name,
                                   device ? "block device" : "regular file", kind_of(st.st_mode)));
  const std::string way = way_to(found.get());
  // On a device that nobody has mounted, or uses as a part of something else.
  const int alone = device && access == Access::kReadWrite ? O_EXCL : 0;
  const int flags = (access == Access::kReadWrite ? O_RDWR : O_RDONLY) | O_CLOEXEC | alone;
  UniqueFd fd(retry_on_eintr([&] { return ::open(way.c_str(), flags); }));
  if (!fd && errno == ENOENT)
    return Error::make(ErrorCode::kUnsupported,
                       fmt::format("{}: cannot be opened: /proc is not mounted", name));
  if (!fd)
    return Error::from_errno(errno, name);
  return PosixFile::adopt(std::move(fd), std::move(name));
}

// Whether that errno of an open with O_TMPFILE says so. The second comes from kernels that do not
// know the flag, which is made of O_DIRECTORY.
bool makes_no_unnamed_files(int err) noexcept {
  return err == EOPNOTSUPP || err == EISDIR;
}

// Whether a file without a name can get one. Found out before all the work is done.
bool can_be_named(const UniqueFd& fd) {
  struct stat st {};

  return ::stat(way_to(fd.get()).c_str(), &st) == 0;
}

// Where the file system makes no files without a name: one that nobody can have foreseen, for a
// moment. Without a descriptor, errno says why.
UniqueFd create_and_unlink(const fs::path& folder) {
  std::string name = (folder / "vmdk-XXXXXX").native();
  UniqueFd fd(retry_on_eintr([&] { return ::mkostemp(name.data(), O_CLOEXEC); }));
  if (fd && ::unlink(name.c_str()) != 0)
    return {};
  return fd;
}

}  // namespace

Result<std::unique_ptr<File>> PosixFileSystem::open(const fs::path& path, Access access) {
  RETURN_IF_ERROR(check_name(path));
  const UniqueFd found(retry_on_eintr([&] { return ::open(path.c_str(), O_PATH | O_CLOEXEC); }));
  if (!found)
    return Error::from_errno(errno, path.native());
  return open_found(found, path.native(), access);
}

Result<std::unique_ptr<File>> PosixFileSystem::open_device(const fs::path& path, Access access) {
  RETURN_IF_ERROR(check_name(path));
  const UniqueFd found(retry_on_eintr([&] { return ::open(path.c_str(), O_PATH | O_CLOEXEC); }));
  if (!found)
    return Error::from_errno(errno, path.native());
  return open_found(found, path.native(), access, Wanted::kDevice);
}

Result<std::unique_ptr<File>> PosixFileSystem::open_beneath(const fs::path& directory,
                                                            const fs::path& relative,
                                                            Access access) {
  RETURN_IF_ERROR(check_name(directory));
  RETURN_IF_ERROR(check_name(relative));
  const auto folder = folder_or_here(directory);
  const UniqueFd root(
      retry_on_eintr([&] { return ::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC); }));
  if (!root)
    return Error::from_errno(errno, folder.native());
  const auto found = lookup_ == BeneathLookup::kWalk ? find_beneath_by_walk(root.get(), relative)
                                                     : find_beneath(root.get(), relative);
  auto name = (directory / relative).native();
  if (!found) {
    const int err = found.error().errno_value();
    if (err == EXDEV)
      return Error::make(ErrorCode::kDenied, fmt::format("{}: lies outside the folder {}",
                                                         relative.native(), folder.native()));
    return Error::from_errno(err, name);
  }
  return open_found(*found, std::move(name), access);
}

Result<std::unique_ptr<File>> PosixFileSystem::create(const fs::path& path) {
  RETURN_IF_ERROR(check_name(path));
  UniqueFd fd(retry_on_eintr(
      [&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666); }));
  if (!fd)
    return Error::from_errno(errno, path.native());
  return PosixFile::adopt(std::move(fd), path.native());
}

Result<std::unique_ptr<File>> PosixFileSystem::create_hidden(const fs::path& path) {
  RETURN_IF_ERROR(check_name(path));

  struct stat st {};

  // reveal() finds that out too, but only when all the work is done.
  if (::lstat(path.c_str(), &st) == 0)
    return Error::from_errno(EEXIST, path.native());
  return create_out_of_sight(path);
}

Result<std::unique_ptr<File>> PosixFileSystem::create_successor(const fs::path& path) {
  RETURN_IF_ERROR(check_name(path));
  return create_out_of_sight(path);
}

Result<std::unique_ptr<File>> PosixFileSystem::create_out_of_sight(const fs::path& path) {
  const auto folder = folder_or_here(path.parent_path());
  if (hiding_place_ == HidingPlace::kAutomatic) {
    UniqueFd fd(retry_on_eintr(
        [&] { return ::open(folder.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0666); }));
    if (fd && can_be_named(fd))
      return PosixFile::adopt_hidden(std::move(fd), path.native(), {});
    if (!fd && !makes_no_unnamed_files(errno))
      return Error::from_errno(errno, path.native());
  }
  std::string temporary;
  UniqueFd fd;
  do {
    temporary = unfinished_name(folder);
    fd = UniqueFd(retry_on_eintr(
        [&] { return ::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666); }));
  } while (!fd && errno == EEXIST);
  if (!fd)
    return Error::from_errno(errno, path.native());
  return PosixFile::adopt_hidden(std::move(fd), path.native(), std::move(temporary));
}

Result<std::unique_ptr<File>> PosixFileSystem::create_unnamed(const fs::path& directory) {
  RETURN_IF_ERROR(check_name(directory));
  const auto folder = folder_or_here(directory);
  UniqueFd fd(retry_on_eintr(
      [&] { return ::open(folder.c_str(), O_RDWR | O_TMPFILE | O_EXCL | O_CLOEXEC, 0600); }));
  if (!fd && makes_no_unnamed_files(errno))
    fd = create_and_unlink(folder);
  if (!fd)
    return Error::from_errno(errno, folder.native());
  return PosixFile::adopt(std::move(fd), (folder / "(file without a name)").native());
}

Status PosixFileSystem::remove(const fs::path& path) {
  RETURN_IF_ERROR(check_name(path));
  if (::unlink(path.c_str()) != 0)
    return Error::from_errno(errno, path.native());
  return {};
}

Status PosixFileSystem::sync_directory(const fs::path& directory) {
  const auto folder = folder_or_here(directory);
  const UniqueFd fd(
      retry_on_eintr([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!fd)
    return Error::from_errno(errno, folder.native());
  // EINVAL: a file system that cannot sync a folder, and on which nothing more can be done.
  if (retry_on_eintr([&] { return ::fsync(fd.get()); }) != 0 && errno != EINVAL)
    return Error::from_errno(errno, folder.native());
  return {};
}

Result<std::vector<std::string>> PosixFileSystem::list(const fs::path& directory) {
  const auto folder = folder_or_here(directory);
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(folder.c_str()), &::closedir);
  if (!dir)
    return Error::from_errno(errno, folder.native());
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(dir.get());  // NOLINT(concurrency-mt-unsafe): our own stream
    if (entry == nullptr && errno != 0)
      return Error::from_errno(errno, folder.native());
    if (entry == nullptr)
      return names;
    const std::string_view name(entry->d_name);
    if (name != "." && name != "..")
      names.emplace_back(name);
  }
}

FileSystem::Kind PosixFileSystem::kind(const fs::path& path) const noexcept {
  struct stat st {};

  if (::stat(path.c_str(), &st) != 0)
    return Kind::kNothing;
  if (S_ISREG(st.st_mode))
    return Kind::kFile;
  return S_ISDIR(st.st_mode) ? Kind::kDirectory : Kind::kOther;
}

std::unique_ptr<FileSystem> posix_file_system() {
  return std::make_unique<PosixFileSystem>();
}

}  // namespace vmdk
