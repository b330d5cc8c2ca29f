#include "fuse/true_size.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

namespace vmdkfuse {
namespace {

using vmdk::Error;
using vmdk::Result;
using vmdk::Status;

// The disk's file as found by its name, held so that it can be looked at and changed by the same
// name. With O_PATH it is not opened: no OPEN reaches us and nobody counts it as a user.
class FoundFile {
 public:
  static Result<FoundFile> find(const std::string& path, dev_t device) {
    FoundFile file(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));

    struct stat found {};

    if (file.fd_ < 0 || fstat(file.fd_, &found) != 0)
      return Error::from_errno(errno, path);
    if (found.st_dev != device || !S_ISREG(found.st_mode))
      return Error::make(vmdk::ErrorCode::kNotFound,
                         fmt::format("{}: something else is there now", path));
    return file;
  }

  FoundFile(FoundFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

  FoundFile(const FoundFile&) = delete;
  FoundFile& operator=(const FoundFile&) = delete;

  ~FoundFile() {
    if (fd_ >= 0)
      ::close(fd_);
  }

  std::string name() const { return fmt::format("/proc/self/fd/{}", fd_); }

 private:
  explicit FoundFile(int fd) noexcept : fd_(fd) {}

  int fd_;
};

}  // namespace

Status show_true_size(const std::string& path, dev_t device, std::uint64_t capacity) {
  ASSIGN_OR_RETURN(const FoundFile file, FoundFile::find(path, device));
  if (truncate(file.name().c_str(), static_cast<off_t>(capacity)) != 0)
    return Error::from_errno(errno, fmt::format("{}: setting the size", path));
  return {};
}

Status show_true_time(const std::string& path, dev_t device, timespec modified) {
  ASSIGN_OR_RETURN(const FoundFile file, FoundFile::find(path, device));
  const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, modified};
  if (utimensat(AT_FDCWD, file.name().c_str(), times, 0) != 0)
    return Error::from_errno(errno, fmt::format("{}: setting the time", path));
  return {};
}

}  // namespace vmdkfuse
