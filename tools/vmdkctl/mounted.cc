#include "vmdkctl/mounted.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

namespace vmdkctl {
namespace {

using vmdk::Error;

// Whether the file system with this device number is one of ours: in mountinfo the number is the
// third word, the kind follows a dash of its own.
bool is_ours(dev_t device) {
  const std::string number = fmt::format("{}:{}", major(device), minor(device));
  std::ifstream table("/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    std::string id;
    std::string parent;
    std::string here;
    words >> id >> parent >> here;
    if (here == number && line.find(" - fuse.vmdkfuse ") != std::string::npos)
      return true;
  }
  return false;
}

}  // namespace

vmdk::Result<MountedDisk> find_mounted(const std::string& mountpoint) {
  struct stat found {};

  if (stat(mountpoint.c_str(), &found) != 0)
    return Error::from_errno(errno, mountpoint);
  if (!is_ours(found.st_dev))
    return Error::make(vmdk::ErrorCode::kInvalidArgument,
                       fmt::format("{}: no disk is mounted there", mountpoint))
        .with_hint("vmdkfuse --list shows where");
  return MountedDisk{mountpoint, S_ISDIR(found.st_mode)};
}

}  // namespace vmdkctl
