#include "vmdkfuse/sandbox.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "io/unique_fd.h"
#include "vmdkfuse/privileges.h"

namespace vmdkfuse {
namespace {

using vmdk::Error;
using vmdk::Result;
using vmdk::Status;
using vmdk::UniqueFd;

// The header of Debian 12 knows version 2.
constexpr std::uint64_t kTruncate = 1ULL << 14U;
constexpr std::uint64_t kDeviceControl = 1ULL << 15U;
constexpr std::uint64_t kConnectToSocketFile = 1ULL << 16U;
constexpr std::uint64_t kBindTcp = 1ULL << 0U;
constexpr std::uint64_t kConnectTcp = 1ULL << 1U;
constexpr std::uint64_t kBindUdp = 1ULL << 2U;
constexpr std::uint64_t kSendUdp = 1ULL << 3U;
constexpr std::uint64_t kAbstractSocket = 1ULL << 0U;
constexpr std::uint64_t kSignal = 1ULL << 1U;

#ifdef LANDLOCK_ACCESS_FS_TRUNCATE
static_assert(kTruncate == LANDLOCK_ACCESS_FS_TRUNCATE);
#endif
#ifdef LANDLOCK_ACCESS_FS_IOCTL_DEV
static_assert(kDeviceControl == LANDLOCK_ACCESS_FS_IOCTL_DEV);
#endif
#ifdef LANDLOCK_ACCESS_FS_RESOLVE_UNIX
static_assert(kConnectToSocketFile == LANDLOCK_ACCESS_FS_RESOLVE_UNIX);
#endif
#ifdef LANDLOCK_ACCESS_NET_BIND_TCP
static_assert(kBindTcp == LANDLOCK_ACCESS_NET_BIND_TCP);
static_assert(kConnectTcp == LANDLOCK_ACCESS_NET_CONNECT_TCP);
#endif
#ifdef LANDLOCK_ACCESS_NET_BIND_UDP
static_assert(kBindUdp == LANDLOCK_ACCESS_NET_BIND_UDP);
static_assert(kSendUdp == LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP);
#endif
#ifdef LANDLOCK_SCOPE_SIGNAL
static_assert(kAbstractSocket == LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET);
static_assert(kSignal == LANDLOCK_SCOPE_SIGNAL);
#endif

// All of the first version: the bits from "execute" to "make a symbolic link".
constexpr std::uint64_t kFirstFiles = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1U) - 1;

// What each version added. 7 and 8 added nothing that could be forbidden.
struct Addition {
  int abi;
  LandlockAccess access;
};

constexpr std::array kAdditions = {
    Addition{1, {.files = kFirstFiles}},
    Addition{2, {.files = LANDLOCK_ACCESS_FS_REFER}},
    Addition{3, {.files = kTruncate}},
    Addition{4, {.network = kBindTcp | kConnectTcp}},
    Addition{5, {.files = kDeviceControl}},
    Addition{6, {.scopes = kAbstractSocket | kSignal}},
    Addition{9, {.files = kConnectToSocketFile}},
    Addition{10, {.network = kBindUdp | kSendUdp}},
};

// As the kernel reads it; an older one takes a longer structure whose rest is zero.
struct RulesetAttributes {
  std::uint64_t handled_access_fs;
  std::uint64_t handled_access_net;
  std::uint64_t scoped;
};

Error failed(const char* what) {
  return Error::from_errno(errno, what);
}

Status allow_beneath(const UniqueFd& ruleset, const std::string& path, std::uint64_t access) {
  const UniqueFd place(open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!place)
    return Error::from_errno(errno, path);
  const landlock_path_beneath_attr rule{.allowed_access = access, .parent_fd = place.get()};
  if (syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
    return Error::from_errno(errno, path);
  return {};
}

}  // namespace

LandlockAccess landlock_access(int abi) noexcept {
  LandlockAccess all;
  for (const Addition& each : kAdditions) {
    if (each.abi > abi)
      continue;
    all.files |= each.access.files;
    all.network |= each.access.network;
    all.scopes |= each.access.scopes;
  }
  return all;
}

Result<int> landlock_abi() {
  const long abi =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 0)
    return failed("Landlock");
  return static_cast<int>(abi);
}

Result<int> enter_sandbox(const SandboxRules& rules, int newest) {
  ASSIGN_OR_RETURN(const int offered, landlock_abi());
  const int abi = std::min(offered, newest);
  const LandlockAccess access = landlock_access(abi);
  const RulesetAttributes attributes{access.files, access.network, access.scopes};
  const UniqueFd ruleset(
      static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0)));
  if (!ruleset)
    return failed("landlock_create_ruleset");
  const auto allow = [&](const std::string& path, std::uint64_t wanted) -> Status {
    return path.empty() || (access.files & wanted) == 0 ? Status{}
                                                        : allow_beneath(ruleset, path, wanted);
  };
  RETURN_IF_ERROR(allow(rules.mountpoint, kTruncate));
  RETURN_IF_ERROR(allow(rules.socket_folder, kConnectToSocketFile));
  RETURN_IF_ERROR(forbid_new_privileges());
  if (syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0)
    return failed("landlock_restrict_self");
  return abi;
}

}  // namespace vmdkfuse
