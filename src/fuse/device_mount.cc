#include "fuse/device_mount.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include <fmt/format.h>

#include "fuse/libfuse_log.h"
#include "fuse/session.h"

namespace vmdkfuse {

using vmdk::Error;
using vmdk::Result;

Result<int> mount_device(const std::string& mountpoint, const std::vector<std::string>& options) {
  const vmdk::LogSink nobody;
  LibfuseLog log(nobody);
  const auto failed = [&](std::string_view what) {
    const std::string why = log.take_collected();
    return Error::make(vmdk::ErrorCode::kIo,
                       fmt::format("{}: {}{}{}", mountpoint, what, why.empty() ? "" : ": ", why));
  };
  const fuse_lowlevel_ops no_handlers{};
  const Session session = new_session(options, false, no_handlers, nullptr);
  if (session == nullptr)
    return failed("mount options refused");
  if (fuse_session_mount(session.get(), mountpoint.c_str()) != 0)
    return failed("not mounted");
  // The session closes its own.
  const int device = fcntl(fuse_session_fd(session.get()), F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (device >= 0)
    return device;
  const int err = errno;
  fuse_session_unmount(session.get());
  return Error::from_errno(err, mountpoint);
}

}  // namespace vmdkfuse
