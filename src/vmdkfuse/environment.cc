#include "vmdkfuse/environment.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <initializer_list>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "io/unique_fd.h"

namespace vmdkfuse {
namespace {

// The kernel's end of the mount, events, the sockets and their peers, the log.
constexpr std::size_t kSpareDescriptors = 24;

constexpr int kFirstDescriptor = STDERR_FILENO + 1;

// From the first that is no standard stream. None where /proc is not mounted.
std::vector<int> open_descriptors() {
  std::vector<int> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    if (const int fd = std::atoi(entry.path().filename().c_str()); fd >= kFirstDescriptor)
      found.push_back(fd);
  }
  return found;
}

}  // namespace

sigset_t ending_signals() noexcept {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGHUP);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

void prepare_process() noexcept {
  const sigset_t set = ending_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  // The log's times need no file any more.
  tzset();
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
#ifdef PR_SET_IO_FLUSHER
  prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
#endif
}

vmdk::Status require_spare_descriptors() {
  std::array<vmdk::UniqueFd, kSpareDescriptors> taken;
  for (vmdk::UniqueFd& each : taken) {
    each = vmdk::UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!each)
      return with_descriptor_hint(vmdk::Error::from_errno(
          errno, fmt::format("the {} descriptors that serving takes", kSpareDescriptors)));
  }
  return {};
}

vmdk::Error with_descriptor_hint(vmdk::Error error) {
  rlimit files{};
  if (error.errno_value() != EMFILE || getrlimit(RLIMIT_NOFILE, &files) != 0)
    return error;
  return std::move(error).with_hint(
      fmt::format("raise the limit of open files (ulimit -n), which is {}: each file of the image "
                  "and of its parents takes one, and serving them takes {} more",
                  files.rlim_cur, kSpareDescriptors));
}

bool ending_signal_pending() noexcept {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, SIGHUP) == 1 || sigismember(&pending, SIGINT) == 1 ||
         sigismember(&pending, SIGTERM) == 1;
}

vmdk::UniqueFd open_null_device() noexcept {
  return vmdk::UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC));
}

void leave_terminal(vmdk::UniqueFd null) noexcept {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (null)
      dup2(null.get(), fd);
  }
  // A daemon must not keep a file system busy; the root always is.
  [[maybe_unused]] const int ignored = chdir("/");
}

std::vector<int> inherited_descriptors() {
  std::vector<int> found;
  for (const int fd : open_descriptors()) {
    const int flags = fcntl(fd, F_GETFD);
    if (flags >= 0 && (flags & FD_CLOEXEC) == 0)
      found.push_back(fd);
  }
  return found;
}

vmdk::UniqueFd close_all_but(vmdk::UniqueFd kept) {
  if (kept.get() != kFirstDescriptor) {
    if (dup3(kept.get(), kFirstDescriptor, O_CLOEXEC) < 0)
      return kept;
    kept = vmdk::UniqueFd(kFirstDescriptor);
  }
  // Before Linux 5.9 one by one.
  if (close_range(kFirstDescriptor + 1, UINT_MAX, 0) != 0) {
    for (const int fd : open_descriptors()) {
      if (fd > kFirstDescriptor)
        close(fd);
    }
  }
  return kept;
}

}  // namespace vmdkfuse
