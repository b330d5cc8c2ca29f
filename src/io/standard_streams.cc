#include "io/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace vmdk {

void open_standard_streams() noexcept {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
      continue;
    // The lowest free number is given out, and those below are open by now. Children inherit it as
    // they would the stream. Nothing may be opened without it, and there is nowhere to say so.
    if (open("/dev/null", O_RDWR) != fd)  // NOLINT(android-cloexec-open)
      std::abort();
  }
}

}  // namespace vmdk
