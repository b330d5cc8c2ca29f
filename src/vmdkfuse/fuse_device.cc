#include "vmdkfuse/fuse_device.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "io/unique_fd.h"

namespace vmdkfuse {
namespace {

constexpr const char* kDevice = "/dev/fuse";

enum class Container { kNone, kDocker, kPodman };

Container container() noexcept {
  if (access("/.dockerenv", F_OK) == 0)
    return Container::kDocker;
  if (access("/run/.containerenv", F_OK) == 0)
    return Container::kPodman;
  return Container::kNone;
}

std::string_view place() noexcept {
  switch (container()) {
    case Container::kDocker:
      return " (running in a Docker container)";
    case Container::kPodman:
      return " (running in a Podman container)";
    case Container::kNone:
      break;
  }
  return "";
}

}  // namespace

std::string mount_hint() {
  switch (container()) {
    case Container::kDocker:
      return "docker run --device /dev/fuse --cap-add SYS_ADMIN   (AppArmor hosts also: "
             "--security-opt apparmor=unconfined)";
    case Container::kPodman:
      return "podman run --device /dev/fuse --cap-add SYS_ADMIN";
    case Container::kNone:
      break;
  }
  return "";
}

vmdk::Status check_fuse_device() {
  const vmdk::UniqueFd device(open(kDevice, O_RDWR | O_CLOEXEC));
  if (device)
    return {};
  const int err = errno;
  // fusermount3 opens the device with its own rights.
  if (err == EACCES && geteuid() != 0)
    return {};
  auto error = vmdk::Error::make(
      vmdk::ErrorCode::kIo,
      fmt::format("{}: {}{}", kDevice, std::generic_category().message(err), place()));
  std::string hint = mount_hint();
  if (hint.empty() && (err == ENOENT || err == ENODEV || err == ENXIO))
    hint = "modprobe fuse";
  return hint.empty() ? std::move(error) : std::move(error).with_hint(std::move(hint));
}

}  // namespace vmdkfuse
