// What the daemon forbids itself before it serves, by the kernel's Landlock: opening files,
// starting programs, the network. What it needs it has open by then. A request costs nothing more
// for it.
//
// Landlock grows by versions ("ABI"); each adds kinds of access that can be forbidden. We forbid
// all that the kernel and we know, and allow what is listed in SandboxRules.
#pragma once

#include <cstdint>
#include <string>

#include <vmdk/result.h>

namespace vmdkfuse {

// Kinds of access that a version of Landlock can forbid, as bits of its interface.
struct LandlockAccess {
  std::uint64_t files = 0;
  std::uint64_t network = 0;
  std::uint64_t scopes = 0;
};

// The newest version that we know what to do with; a newer kernel serves it as well.
inline constexpr int kNewestLandlockAbi = 10;

// `abi` from 1.
LandlockAccess landlock_access(int abi) noexcept;

// The kernel's version. ENOSYS where it is built without, EOPNOTSUPP where Landlock was not chosen
// when the system started.
vmdk::Result<int> landlock_abi();

struct SandboxRules {
  // A file or directory whose files may be given a length: the kernel takes the size of a file
  // mount from a truncation (fuse/true_size.h). Empty: none.
  std::string mountpoint;
  // Sockets in this folder may be connected to, which matters from version 9 on: syslog's, which
  // is made anew when syslog starts anew. Empty: none.
  std::string socket_folder;
};

// Restricts this thread and all that it starts from now on, for good; threads that run already are
// not restricted. Starting a program gives no new rights any more. Returns the version in force,
// which is at most `newest`.
vmdk::Result<int> enter_sandbox(const SandboxRules& rules, int newest = kNewestLandlockAbi);

}  // namespace vmdkfuse
