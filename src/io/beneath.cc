#include "io/beneath.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/retry.h"

namespace vmdk {
namespace {

// Attempts at a lookup that raced with a rename; the kernel asks for it to be tried again.
constexpr int kAttempts = 8;

// As many as the kernel follows.
constexpr int kMaxSymbolicLinks = 40;

// One lookup in progress: the folders entered so far and the names still to be looked up.
class Walk {
 public:
  explicit Walk(int root) : root_(root) {}

  // 0, or the errno that ends the walk.
  int run(std::string_view name) {
    if (name.empty())
      return ENOENT;
    if (name.size() >= PATH_MAX)
      return ENAMETOOLONG;
    if (const int err = prepend(name); err != 0)
      return err;
    while (!names_.empty()) {
      const std::string next = std::move(names_.front());
      names_.pop_front();
      if (const int err = step(next); err != 0)
        return err;
    }
    return 0;
  }

  // Requires: run() was 0. An owner of what was found.
  UniqueFd found() && {
    if (!entered_.empty())
      return std::move(entered_.back());
    return UniqueFd(::openat(root_, ".", O_PATH | O_CLOEXEC));
  }

 private:
  int current() const noexcept { return entered_.empty() ? root_ : entered_.back().get(); }

  // Puts the components of `name` before the names that are left; EXDEV for an absolute one.
  int prepend(std::string_view name) {
    if (name.front() == '/')
      return EXDEV;
    std::vector<std::string> components;
    for (std::size_t begin = 0; begin <= name.size();) {
      const auto end = std::min(name.find('/', begin), name.size());
      components.emplace_back(name.substr(begin, end - begin));
      begin = end + 1;
    }
    names_.insert(names_.begin(), components.begin(), components.end());
    return 0;
  }

  int step(const std::string& name) {
    // "a//b" and "a/" have empty components; like "." they ask only that `a` is a folder.
    if (name.empty() || name == "." || name == "..") {
      if (const int err = check_folder(); err != 0)
        return err;
      return name == ".." ? leave() : 0;
    }
    UniqueFd fd(retry_on_eintr(
        [&] { return ::openat(current(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC); }));

    struct stat st {};

    if (!fd || ::fstat(fd.get(), &st) != 0)
      return errno;
    if (S_ISLNK(st.st_mode))
      return follow(fd.get());
    entered_.push_back(std::move(fd));
    return 0;
  }

  // What the kernel asks of a file from which a name goes on: a folder, and open to the caller.
  int check_folder() const noexcept {
    struct stat st {};

    return ::fstatat(current(), ".", &st, 0) == 0 ? 0 : errno;
  }

  int leave() noexcept {
    if (entered_.empty())
      return EXDEV;
    entered_.pop_back();
    return 0;
  }

  int follow(int link) {
    if (++links_ > kMaxSymbolicLinks)
      return ELOOP;
    std::string target(PATH_MAX, '\0');
    const ssize_t length = ::readlinkat(link, "", target.data(), target.size());
    if (length < 0)
      return errno;
    if (length == 0)
      return ENOENT;
    return prepend(std::string_view(target).substr(0, static_cast<std::size_t>(length)));
  }

  const int root_;
  std::vector<UniqueFd> entered_;  // from beneath root_ to where the walk stands
  std::deque<std::string> names_;
  int links_ = 0;
};

}  // namespace

Result<UniqueFd> find_beneath_by_kernel(int directory_fd, const std::filesystem::path& relative) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  for (int attempt = 1;; ++attempt) {
    const long fd = retry_on_eintr(
        [&] { return ::syscall(SYS_openat2, directory_fd, relative.c_str(), &how, sizeof how); });
    if (fd >= 0)
      return UniqueFd(static_cast<int>(fd));
    if (errno != EAGAIN || attempt == kAttempts)
      return Error::from_errno(errno, relative.native());
  }
}

Result<UniqueFd> find_beneath_by_walk(int directory_fd, const std::filesystem::path& relative) {
  Walk walk(directory_fd);
  if (const int err = walk.run(relative.native()); err != 0)
    return Error::from_errno(err, relative.native());
  auto fd = std::move(walk).found();
  if (!fd)
    return Error::from_errno(errno, relative.native());
  return fd;
}

Result<UniqueFd> find_beneath(int directory_fd, const std::filesystem::path& relative) {
  auto found = find_beneath_by_kernel(directory_fd, relative);
  if (found)
    return found;
  switch (found.error().errno_value()) {
    case ENOSYS:  // before Linux 5.6
    case EPERM:   // a filter of system calls that does not know it
    case EAGAIN:  // names that change faster than the kernel can look them up
      return find_beneath_by_walk(directory_fd, relative);
    default:
      return found;
  }
}

}  // namespace vmdk
