#include "vmdkfuse/own_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string_view>

#include <fmt/format.h>

namespace vmdkfuse {
namespace {

using vmdk::Error;
using vmdk::Result;
using vmdk::Status;
using vmdk::UniqueFd;

using Stat = struct stat;

// False with errno when there is no such folder.
bool look_at_folder_of(const std::string& path, Stat& found) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  return stat(folder.empty() ? "." : folder.c_str(), &found) == 0;
}

// Strangers are all but us and root.
bool strangers_make_names_in(const Stat& folder) noexcept {
  return (folder.st_mode & S_IWOTH) != 0 || (folder.st_uid != geteuid() && folder.st_uid != 0);
}

Error planted(const std::string& path, std::string_view what) {
  return Error::make(
             vmdk::ErrorCode::kDenied,
             fmt::format("{}: not used: others can make files in its folder, and {}", path, what))
      .with_hint("name a file in a folder that is yours alone");
}

// Empty: nobody but us can have put it there.
std::string_view what_is_wrong_with(const Stat& found) noexcept {
  if (S_ISLNK(found.st_mode))
    return "it is a symbolic link";
  if (!S_ISREG(found.st_mode))
    return "it is no regular file";
  if (found.st_uid != geteuid())
    return "it belongs to another user";
  if (found.st_nlink != 1)
    return "it has a second name";
  return "";
}

Result<UniqueFd> open_among_strangers(const std::string& path, int flags, unsigned mode) {
  const int common = O_WRONLY | O_NOFOLLOW | O_CLOEXEC | flags;
  UniqueFd made(open(path.c_str(), common | O_CREAT | O_EXCL, mode));
  if (made)
    return made;
  if (errno != EEXIST)
    return Error::from_errno(errno, path);
  // Without waiting for whoever reads from a FIFO.
  UniqueFd there(open(path.c_str(), common | O_NONBLOCK));
  const int err = errno;
  Stat found{};
  if (there ? fstat(there.get(), &found) != 0 : lstat(path.c_str(), &found) != 0)
    return Error::from_errno(errno, path);
  if (const std::string_view wrong = what_is_wrong_with(found); !wrong.empty())
    return planted(path, wrong);
  if (!there)
    return Error::from_errno(err, path);
  return there;
}

}  // namespace

Result<UniqueFd> open_own_file(const std::string& path, int flags, unsigned mode) {
  Stat folder{};
  if (!look_at_folder_of(path, folder))
    return Error::from_errno(errno, path);
  if (strangers_make_names_in(folder))
    return open_among_strangers(path, flags, mode);
  UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, mode));
  if (!file)
    return Error::from_errno(errno, path);
  return file;
}

Status require_own_file(const std::string& path) {
  Stat folder{};
  Stat found{};
  if (!look_at_folder_of(path, folder) || lstat(path.c_str(), &found) != 0)
    return Error::from_errno(errno, path);
  if ((folder.st_mode & S_IWOTH) == 0)
    return {};
  if (const std::string_view wrong = what_is_wrong_with(found); !wrong.empty())
    return planted(path, wrong);
  return {};
}

}  // namespace vmdkfuse
