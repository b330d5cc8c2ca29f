#include "vmdkfuse/confinement.h"

#include <linux/capability.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "vmdkfuse/privileges.h"
#include "vmdkfuse/sandbox.h"

namespace vmdkfuse {
namespace {

using vmdk::Error;
using vmdk::Result;
using vmdk::Status;

// What root still needs, who has not become another user: the flat file may belong to anybody, and
// the file system of the image may keep space for root.
constexpr std::array kKeptCapabilities = {CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_SYS_RESOURCE};

// Where syslog's socket is made; empty where there is none.
std::string syslog_folder() {
  std::error_code error;
  const auto socket = std::filesystem::canonical("/dev/log", error);
  return error ? std::string() : socket.parent_path().string();
}

Error refusal(const Error& why) {
  return Error::make(vmdk::ErrorCode::kUnsupported, fmt::format("--sandbox=on: {}", why.message()))
      .with_hint(
          "--sandbox=auto goes on without; the kernel needs Landlock built in, and \"landlock\" "
          "in its list lsm=");
}

// A kernel that has none is nothing to talk about; one that has it and refuses is.
void tell_absence(const Error& why, Log& log) {
  const std::string line = fmt::format("sandbox: none: {}", why.message());
  if (why.errno_value() == ENOSYS || why.errno_value() == EOPNOTSUPP)
    log.debug(line);
  else
    log.warning(line);
}

}  // namespace

Status require_sandbox(SandboxChoice choice) {
  if (choice != SandboxChoice::kOn)
    return {};
  if (const auto abi = landlock_abi(); !abi)
    return refusal(abi.error());
  return {};
}

Result<int> confine(SandboxChoice choice, const std::string& mountpoint, Log& log) {
  if (choice == SandboxChoice::kOff)
    return 0;
  if (geteuid() == 0)
    RETURN_IF_ERROR(keep_capabilities(kKeptCapabilities));
  RETURN_IF_ERROR(forbid_new_privileges());
  const auto abi = enter_sandbox({.mountpoint = mountpoint, .socket_folder = syslog_folder()});
  if (abi) {
    log.info(fmt::format("sandbox: Landlock ABI {}", *abi));
    return *abi;
  }
  if (choice == SandboxChoice::kOn)
    return refusal(abi.error());
  tell_absence(abi.error(), log);
  return 0;
}

}  // namespace vmdkfuse
