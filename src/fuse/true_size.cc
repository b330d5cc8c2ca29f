#include "fuse/true_size.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include <fmt/format.h>

namespace vmdkfuse {
namespace {

// Holds the file long enough to look at it and change it by the same name. O_PATH: the file is
// not opened, so no OPEN reaches us and nobody counts it as a reader.
class PathHandle {
 public:
  explicit PathHandle(const std::string& path) noexcept
      : fd_(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)) {}

  ~PathHandle() {
    if (fd_ >= 0)
      ::close(fd_);
  }

  PathHandle(const PathHandle&) = delete;
  PathHandle& operator=(const PathHandle&) = delete;

  int get() const noexcept { return fd_; }

 private:
  const int fd_;
};

}  // namespace

vmdk::Status show_true_size(const std::string& path, dev_t device, std::uint64_t capacity,
                            const timespec* modified) {
  const PathHandle file(path);

  struct stat found {};

  if (file.get() < 0 || fstat(file.get(), &found) != 0)
    return vmdk::Error::from_errno(errno, path);
  if (found.st_dev != device || !S_ISREG(found.st_mode))
    return vmdk::Error::make(vmdk::ErrorCode::kNotFound,
                             fmt::format("{}: something else is there now", path));
  const std::string name = fmt::format("/proc/self/fd/{}", file.get());
  if (truncate(name.c_str(), static_cast<off_t>(capacity)) != 0)
    return vmdk::Error::from_errno(errno, fmt::format("{}: setting the size", path));
  if (modified == nullptr)
    return {};
  const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, *modified};
  if (utimensat(AT_FDCWD, name.c_str(), times, 0) != 0)
    return vmdk::Error::from_errno(errno, fmt::format("{}: setting the time", path));
  return {};
}

}  // namespace vmdkfuse
