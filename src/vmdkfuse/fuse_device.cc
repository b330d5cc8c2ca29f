#include "vmdkfuse/fuse_device.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "io/unique_fd.h"

namespace vmdkfuse {
namespace {

constexpr const char* kDevice = "/dev/fuse";

// Beneath the first line of a hint.
constexpr std::string_view kNextLine = "\n          ";

// How the engines call what a mount takes.
struct Words {
  std::string_view command;  // before the device and the capability
  std::string_view device;
  std::string_view capability;
  std::string_view other_form;  // a whole line, or empty
  std::string_view rights;
  std::string_view apparmor;
  std::string_view selinux;
};

constexpr Words kDockerWords{
    .command = "docker run ",
    .device = "--device /dev/fuse",
    .capability = "--cap-add SYS_ADMIN",
    .other_form = "in compose.yaml: devices: [/dev/fuse], cap_add: [SYS_ADMIN]",
    .rights = "no --security-opt no-new-privileges",
    .apparmor = "--security-opt apparmor=unconfined",
    .selinux = "--security-opt label=disable"};

constexpr Words kPodmanWords{.command = "podman run ",
                             .device = kDockerWords.device,
                             .capability = kDockerWords.capability,
                             .other_form = "",
                             .rights = kDockerWords.rights,
                             .apparmor = kDockerWords.apparmor,
                             .selinux = kDockerWords.selinux};

constexpr Words kKubernetesWords{
    .command = "in the container's spec: ",
    .device = "/dev/fuse from a device plugin",
    .capability = "securityContext: {capabilities: {add: [SYS_ADMIN]}}",
    .other_form = "or securityContext: {privileged: true}",
    .rights = "securityContext: {allowPrivilegeEscalation: true}",
    .apparmor = "securityContext: {appArmorProfile: {type: Unconfined}}",
    .selinux = "securityContext: {seLinuxOptions: {type: spc_t}}"};

constexpr Words kOtherWords{.command = "give the container ",
                            .device = "the device /dev/fuse",
                            .capability = "CAP_SYS_ADMIN",
                            .other_form = "",
                            .rights = "programs that run as root (no_new_privs is set)",
                            .apparmor = "an AppArmor profile that allows mounts",
                            .selinux = "an SELinux type that may mount"};

const Words& words_of(Engine engine) noexcept {
  switch (engine) {
    case Engine::kDocker:
      return kDockerWords;
    case Engine::kPodman:
      return kPodmanWords;
    case Engine::kKubernetes:
      return kKubernetesWords;
    default:
      return kOtherWords;
  }
}

bool is_no_device(int err) noexcept {
  return err == ENOENT || err == ENODEV || err == ENXIO;
}

std::string missing_here(const Container& container, int device_error) {
  const Words& words = words_of(container.engine);
  std::vector<std::string_view> missing;
  if (device_error != 0)
    missing.push_back(words.device);
  if (!container.may_mount)
    missing.push_back(words.capability);
  if (!container.may_gain_rights)
    missing.push_back(words.rights);
  if (container.profile == Profile::kAppArmor)
    missing.push_back(words.apparmor);
  // Not every policy of SELinux forbids it.
  if (missing.empty() && container.profile == Profile::kSelinux)
    missing.push_back(words.selinux);
  if (missing.empty())
    return "nothing of that is missing here: a security profile of the host, or its kernel, "
           "refuses";
  std::string line = fmt::format("missing here: {}", fmt::join(missing, ", "));
  if (is_no_device(device_error) && container.may_mount)
    line += " (where it is given: modprobe fuse on the host)";
  return line;
}

std::string container_hint(const Container& container, int device_error) {
  const Words& words = words_of(container.engine);
  const std::string_view between =
      container.engine == Engine::kDocker || container.engine == Engine::kPodman ? " " : " and ";
  std::string hint =
      fmt::format("{}{}{}{}", words.command, words.device, between, words.capability);
  if (!words.other_form.empty())
    hint += fmt::format("{}{}", kNextLine, words.other_form);
  hint += fmt::format("{}{}", kNextLine, missing_here(container, device_error));
  return hint + fmt::format("{}without FUSE: vmdkctl cat, vmdkctl convert", kNextLine);
}

// Outside of containers, or in one that is none for us: `unshare --user`.
std::string plain_hint(const Container& container, int device_error) {
  if (is_no_device(device_error))
    return "modprobe fuse";
  if (!container.user_namespace)
    return "";
  if (device_error != 0)
    return "root of a user namespace is an ordinary user outside: chmod 666 /dev/fuse there, as "
           "root";
  return "a user namespace mounts in a mount namespace of its own: unshare --user --map-root-user "
         "--mount";
}

}  // namespace

std::string fuse_hint(const Container& container, int device_error) {
  return container.engine == Engine::kNone ? plain_hint(container, device_error)
                                           : container_hint(container, device_error);
}

bool lacks_rights(const Container& container) {
  return container.engine != Engine::kNone && (!container.may_mount || !container.may_gain_rights);
}

vmdk::Status check_fuse_device(const Container& container) {
  const vmdk::UniqueFd device(open(kDevice, O_RDWR | O_CLOEXEC));
  if (device)
    return {};
  const int err = errno;
  // fusermount3 opens the device with its own rights.
  if (err == EACCES && geteuid() != 0)
    return {};
  const std::string place = place_of(container);
  auto error = vmdk::Error::make(
      vmdk::ErrorCode::kIo, fmt::format("{}: {}{}", kDevice, std::generic_category().message(err),
                                        place.empty() ? "" : fmt::format(" ({})", place)));
  std::string hint = fuse_hint(container, err);
  return hint.empty() ? std::move(error) : std::move(error).with_hint(std::move(hint));
}

}  // namespace vmdkfuse
