#include "vmdkfuse/mounter_process.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <exception>
#include <filesystem>
#include <optional>
#include <utility>

#include "fuse/device_mount.h"
#include "vmdkfuse/bdi.h"
#include "vmdkfuse/control_socket.h"
#include "vmdkfuse/environment.h"
#include "vmdkfuse/mount_plan.h"
#include "vmdkfuse/mount_table.h"
#include "vmdkfuse/mounter_messages.h"
#include "vmdkfuse/mountpoint.h"
#include "vmdkfuse/privileges.h"
#include "vmdkfuse/readiness.h"

namespace vmdkfuse {
namespace {

using vmdk::Result;
using vmdk::Status;
using vmdk::UniqueFd;

// What root needs to unmount and to remove what it has named.
constexpr std::array kKeptCapabilities = {CAP_SYS_ADMIN, CAP_DAC_OVERRIDE};

// While it lives, the account's ids are the real ones of this process, which libfuse tells the
// kernel as the owner of a mount. The effective ones, and so the rights, stay root's.
class OwnerOfMounts {
 public:
  explicit OwnerOfMounts(const std::optional<Account>& account) {
    changed_ = account && setresgid(account->gid, kSame, kSame) == 0 &&
               setresuid(account->uid, kSame, kSame) == 0;
  }

  ~OwnerOfMounts() {
    // Root may always.
    if (changed_ && (setresuid(0, kSame, kSame) != 0 || setresgid(0, kSame, kSame) != 0))
      std::terminate();
  }

  OwnerOfMounts(const OwnerOfMounts&) = delete;
  OwnerOfMounts& operator=(const OwnerOfMounts&) = delete;

 private:
  static constexpr auto kSame = static_cast<uid_t>(-1);
  bool changed_ = false;
};

// While it lives, root touches files with the rights of the account, as which they were opened.
class RightsOfImages {
 public:
  explicit RightsOfImages(const std::optional<Account>& account)
      : changed_(account && setegid(account->gid) == 0 && seteuid(account->uid) == 0),
        failed_(account && !changed_) {}

  ~RightsOfImages() {
    if (changed_ && (seteuid(0) != 0 || setegid(0) != 0))
      std::terminate();
  }

  RightsOfImages(const RightsOfImages&) = delete;
  RightsOfImages& operator=(const RightsOfImages&) = delete;

  bool failed() const noexcept { return failed_; }

 private:
  bool changed_;
  bool failed_;
};

// The working directory may be another one later.
std::string overlay_of(const Options& options) {
  if (options.overlay.empty() || options.overlay == "tmp")
    return {};
  return std::filesystem::absolute(options.overlay).string();
}

class MounterProcess {
 public:
  MounterProcess(const Options& options, std::string mountpoint, pid_t daemon)
      : options_(options),
        mountpoint_(std::move(mountpoint)),
        overlay_(overlay_of(options)),
        daemon_(daemon) {}

  MounterReply obey(MounterOrder order);
  void remove_names();

 private:
  MounterReply mount(bool read_only);
  Result<UniqueFd> try_to_mount(bool read_only);
  UniqueFd name_socket(std::string& why_not);
  void settle();
  MounterReply publish();
  MounterReply tune() const;
  MounterReply remove_overlay() const;
  UnmountOutcome unmount_ours(bool detach) const;
  bool is_dead() const;

  const Options& options_;
  const std::string mountpoint_;
  const std::string overlay_;  // absolute; empty: there is none with a name
  const pid_t daemon_;
  std::optional<PidFile> pid_file_{std::in_place};
  std::optional<ControlName> control_;
  bool mounted_ = false;
  bool published_ = false;
  // Not there when the system's list of mounts does not show ours.
  std::optional<dev_t> device_;
};

MounterReply failure(std::string text) {
  return {{Unmounted::kFailed, std::move(text)}, {}};
}

Result<UniqueFd> MounterProcess::try_to_mount(bool read_only) {
  // A name that cannot be made is noticed before anything can be seen of the mount.
  RETURN_IF_ERROR(pid_file_->open(options_.pid_file));
  const OwnerOfMounts owner(options_.account);
  ASSIGN_OR_RETURN(const int device,
                   mount_device(mountpoint_, plan_mount_options(options_, read_only)));
  return UniqueFd(device);
}

MounterReply MounterProcess::mount(bool read_only) {
  if (mounted_)
    return failure("mounted already");
  auto device = try_to_mount(read_only);
  if (!device)
    return failure(device.error().to_text());
  mounted_ = true;
  if (const auto there = mount_at(mountpoint_); there && there->type == kFileSystemType)
    device_ = there->device;
  leave_terminal(open_null_device());
  return {{Unmounted::kDone, ""}, *std::move(device)};
}

// From here on root only unmounts and removes its names. Others need all that fusermount3 gets by
// its mode. Rights that cannot be given up are kept: they are those of whoever started us.
void MounterProcess::settle() {
  if (geteuid() != 0)
    return;
  static_cast<void>(forbid_new_privileges().has_value());
  static_cast<void>(keep_capabilities(kKeptCapabilities).has_value());
}

UniqueFd MounterProcess::name_socket(std::string& why_not) {
  if (control_ || !device_) {
    why_not = "the mount is not in the list of mounts";
    return {};
  }
  const auto owner = options_.account ? std::optional<uid_t>(options_.account->uid) : std::nullopt;
  UniqueFd socket;
  auto name = ControlName::bind(*device_, owner, socket);
  if (name)
    control_.emplace(*std::move(name));
  else
    why_not = name.error().message();
  return socket;
}

MounterReply MounterProcess::publish() {
  if (!mounted_ || !pid_file_)
    return failure("not mounted");
  if (const Status status = pid_file_->write(daemon_); !status)
    return failure(status.error().message());
  published_ = true;
  MounterReply reply{{Unmounted::kDone, ""}, {}};
  reply.descriptor = name_socket(reply.outcome.text);
  settle();
  return reply;
}

MounterReply MounterProcess::tune() const {
  std::string text;
  if (device_ && options_.tune_bdi) {
    for (const std::string& line : tune_bdi(*device_))
      text += line + "\n";
  }
  return {{Unmounted::kDone, std::move(text)}, {}};
}

// Nobody has written to it as long as nobody knew of the mount; later it is none of ours.
MounterReply MounterProcess::remove_overlay() const {
  if (overlay_.empty() || published_)
    return failure("there is no overlay to take away");
  const RightsOfImages rights(options_.account);
  if (rights.failed() || unlink(overlay_.c_str()) != 0)
    return failure(overlay_);
  return {{Unmounted::kDone, ""}, {}};
}

// Whoever mounts something over ours between the look and the unmount has that taken away instead:
// umount2(2) and fusermount3 know mounts by their places only, and a descriptor that stood for ours
// would keep it busy. Ours is there then, and is unmounted by the next order.
UnmountOutcome MounterProcess::unmount_ours(bool detach) const {
  if (!mounted_)
    return {Unmounted::kFailed, "not mounted"};
  const auto top = mount_at(mountpoint_);
  if (!top)
    return {Unmounted::kBusy, "detached already"};
  if (device_ && top->device != *device_)
    return {Unmounted::kBusy, "something else is mounted over it"};
  return unmount(mountpoint_, detach);
}

bool MounterProcess::is_dead() const {
  return device_ && is_dead_mount(mountpoint_, *device_);
}

void MounterProcess::remove_names() {
  pid_file_.reset();
  control_.reset();
}

MounterReply MounterProcess::obey(MounterOrder order) {
  switch (order) {
    case MounterOrder::kMountReadOnly:
      return mount(true);
    case MounterOrder::kMountWritable:
      return mount(false);
    case MounterOrder::kPublish:
      return publish();
    case MounterOrder::kTuneBdi:
      return tune();
    case MounterOrder::kUnmount:
      return {unmount_ours(false), {}};
    case MounterOrder::kDetach:
      return {unmount_ours(true), {}};
    case MounterOrder::kIsDead:
      return {{is_dead() ? Unmounted::kBusy : Unmounted::kDone, ""}, {}};
    case MounterOrder::kRemoveNames:
      remove_names();
      return {{Unmounted::kDone, ""}, {}};
    case MounterOrder::kRemoveOverlay:
      return remove_overlay();
  }
  return failure("an order that does not exist");
}

}  // namespace

void run_mounter(UniqueFd socket, const Options& options, const std::string& mountpoint,
                 pid_t daemon) noexcept {
  try {
    prctl(PR_SET_NAME, "vmdkfuse-mount");
    const UniqueFd only = close_all_but(std::move(socket));
    MounterProcess process(options, mountpoint, daemon);
    for (auto order = receive_order(only.get()); order; order = receive_order(only.get())) {
      if (!send_reply(only.get(), process.obey(*order)))
        break;
    }
    // After a daemon that was killed they are still there.
    process.remove_names();
  } catch (const std::exception&) {
    _exit(1);
  }
  _exit(0);
}

}  // namespace vmdkfuse
