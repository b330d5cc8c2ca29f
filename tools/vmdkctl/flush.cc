#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <limits>
#include <string>
#include <system_error>

#include <fmt/format.h>

#include "io/unique_fd.h"
#include "vmdkctl/mounted.h"
#include "vmdkctl/output.h"
#include "vmdkctl/verbs.h"

namespace vmdkctl {
namespace {

vmdk::Status sync(const std::filesystem::path& name) {
  const vmdk::UniqueFd file(open(name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file || fsync(file.get()) != 0)
    return vmdk::Error::from_errno(errno, name.native());
  return {};
}

// The kernel keeps pages of each file by itself, and hands them over when that file is synced,
// whoever has written them.
vmdk::Status flush(const MountedDisk& mounted) {
  if (!mounted.directory)
    return sync(mounted.mountpoint);
  std::error_code error;
  for (std::filesystem::directory_iterator entry(mounted.mountpoint, error), end;
       !error && entry != end; entry.increment(error)) {
    if (entry->is_regular_file(error))
      RETURN_IF_ERROR(sync(entry->path()));
  }
  return error ? vmdk::Error::from_errno(error.value(), mounted.mountpoint.native())
               : vmdk::Status();
}

int run_flush(const Usage&, const Arguments& arguments) {
  int status = kDone;
  for (const std::string& mountpoint : arguments.operands) {
    const auto mounted = find_mounted(mountpoint);
    const vmdk::Status flushed = mounted ? flush(*mounted) : vmdk::Status(mounted.error());
    if (flushed)
      continue;
    print_error(flushed.error());
    status = kFailed;
  }
  return status;
}

}  // namespace

Verb flush_verb() {
  return {{"flush",
           "MOUNTPOINT...",
           "Brings all that was written to a mounted disk into its image.\n"
           "Returns when it is on stable storage.",
           {},
           1,
           std::numeric_limits<std::size_t>::max()},
          run_flush,
          kFailed};
}

}  // namespace vmdkctl
