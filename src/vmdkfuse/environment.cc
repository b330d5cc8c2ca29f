#include "vmdkfuse/environment.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <initializer_list>
#include <utility>

#include <fmt/format.h>

#include "io/unique_fd.h"

namespace vmdkfuse {
namespace {

// The kernel's end of the mount, events, the socket and its peers, the log, looks at the table of
// mounts, the pipes of fusermount3.
constexpr std::size_t kSpareDescriptors = 24;

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

void leave_terminal() noexcept {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null >= 0) {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
      dup2(null, fd);
    if (null > STDERR_FILENO)
      close(null);
  }
  // A daemon must not keep a file system busy; the root always is.
  [[maybe_unused]] const int ignored = chdir("/");
}

}  // namespace vmdkfuse
