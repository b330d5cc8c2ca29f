#include "vmdkfuse/unmount_command.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>

#include <fmt/format.h>

#include <vmdk/result.h>

#include "base/text.h"
#include "io/unique_fd.h"
#include "vmdkfuse/control_socket.h"
#include "vmdkfuse/exit_codes.h"
#include "vmdkfuse/mount_table.h"
#include "vmdkfuse/mountpoint.h"
#include "vmdkfuse/unmount.h"

namespace vmdkfuse {
namespace {

// How long the kernel may take to end a mount that nobody uses.
constexpr std::chrono::seconds kEndOfSession{5};

constexpr int kBusyTries = 10;
constexpr std::chrono::milliseconds kBusyPause{50};

void say(const std::string& mountpoint, std::string_view text) {
  fmt::print(stderr, "vmdkfuse: {}: {}\n", vmdk::printable(mountpoint),
             vmdk::printable_lines(text));
}

struct SyncVerdict {
  int error = 0;  // EACCES: not allowed to look
  // The error was an old one that nobody had asked for, and is gone: a write past the end of the
  // disk leaves such a thing. The daemon knows whether something of the disk was lost.
  bool old = false;
};

// Writes everything back.
SyncVerdict sync_disk(const Mountpoint& mountpoint) {
  if (mountpoint.stale)
    return {.error = ENOTCONN};
  const std::string path = mountpoint.directory ? mountpoint.path + "/flat" : mountpoint.path;
  const vmdk::UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file)
    return {.error = errno};
  if (fsync(file.get()) == 0)
    return {};
  const int first = errno;
  return {.error = first, .old = fsync(file.get()) == 0};
}

int wait_for_daemon(const std::string& name, ControlClient& daemon) {
  bool timed_out = false;
  auto line = daemon.next_line(kEndOfSession, timed_out);
  if (timed_out) {
    say(name, "unmounted here, held in another mount namespace or detached and still in use");
    return kStillServed;
  }
  if (line && *line == "closing")
    line = daemon.next_line(std::nullopt, timed_out);
  if (!line) {
    say(name, "the daemon died before it had written everything");
    return kInternal;
  }
  std::string_view verdict = *line;
  while (daemon.next_line(std::nullopt, timed_out)) {
  }
  if (verdict == "done")
    return kOk;
  constexpr std::string_view kFailed = "failed ";
  if (verdict.starts_with(kFailed))
    verdict.remove_prefix(kFailed.size());
  say(name, verdict);
  return kSystem;
}

// Closing a file takes the kernel a moment, and the daemon looks at its own mount now and then.
UnmountOutcome unmount_patiently(const std::string& path) {
  UnmountOutcome outcome = unmount(path, false);
  for (int tries = 0; outcome.result == Unmounted::kBusy && tries < kBusyTries; ++tries) {
    std::this_thread::sleep_for(kBusyPause);
    outcome = unmount(path, false);
  }
  return outcome;
}

// What can be done about it; empty where the message says it.
std::string way_out(const UnmountOutcome& outcome, const std::string& name) {
  if (outcome.result == Unmounted::kBusy)
    return fmt::format(
        "\"fuser -vm {}\" shows which program uses it, \"losetup\" which loop device", name);
  if (outcome.text.find("/etc/mtab") != std::string::npos && access("/etc/mtab", F_OK) != 0)
    return "fusermount3 needs it; as root: ln -s /proc/self/mounts /etc/mtab";
  return "";
}

// No word from the daemon can be had; what is known is what fsync said.
int without_daemon(const std::string& name, const SyncVerdict& sync) {
  say(name, "unmounted; the daemon's socket is not in reach, so its end was not waited for");
  return sync.error == 0 ? kOk : kSystem;
}

int unmount_one(const std::string& name) {
  const auto mountpoint = find_mounted(name);
  if (!mountpoint) {
    fmt::print(stderr, "vmdkfuse: {}\n", vmdk::printable_lines(mountpoint.error().message()));
    return kUsage;
  }
  const auto entry = mount_at(mountpoint->path);
  if (!entry || entry->type != kFileSystemType) {
    say(name, "not a mount of vmdkfuse");
    return kUsage;
  }
  auto daemon = ControlClient::connect(entry->device, entry->user_id);
  const SyncVerdict sync = sync_disk(*mountpoint);
  const bool daemon_decides = daemon && (sync.error == EACCES || sync.old);
  const bool failed = sync.error != 0 && !daemon_decides;
  if (sync.error == ENOTCONN)
    say(name, "the daemon died; what it had not written yet is lost");
  else if (sync.error == EACCES && failed)
    say(name,
        "another user's mount, which cannot be looked into: whether all is on disk is not known");
  else if (failed)
    say(name,
        fmt::format("not everything is on disk: {}", std::generic_category().message(sync.error)));
  const UnmountOutcome outcome = unmount_patiently(mountpoint->path);
  if (outcome.result != Unmounted::kDone) {
    say(name, vmdk::Error::make(vmdk::ErrorCode::kIo, outcome.text)
                  .with_hint(way_out(outcome, name))
                  .to_text());
    return outcome.result == Unmounted::kBusy ? kMountFailed : kSystem;
  }
  if (sync.error == ENOTCONN)
    return kInternal;
  if (!daemon)
    return without_daemon(name, sync);
  const int verdict = wait_for_daemon(name, *daemon);
  return verdict == kOk && failed ? kSystem : verdict;
}

}  // namespace

int unmount_all(const std::vector<std::string>& mountpoints) {
  int result = kOk;
  for (const std::string& each : mountpoints) {
    const int code = unmount_one(each);
    if (result == kOk)
      result = code;
  }
  return result;
}

}  // namespace vmdkfuse
