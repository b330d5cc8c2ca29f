#include "vmdkfuse/daemon.h"

#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <vmdk/disk.h>
#include <vmdk/partitions.h>

#include "base/hints.h"
#include "base/text.h"
#include "fuse/server.h"
#include "io/posix_file_system.h"
#include "vmdkfuse/confinement.h"
#include "vmdkfuse/container.h"
#include "vmdkfuse/control_socket.h"
#include "vmdkfuse/environment.h"
#include "vmdkfuse/exit_codes.h"
#include "vmdkfuse/fuse_device.h"
#include "vmdkfuse/mount_info.h"
#include "vmdkfuse/mount_plan.h"
#include "vmdkfuse/mounter.h"
#include "vmdkfuse/mountpoint.h"
#include "vmdkfuse/own_file.h"
#include "vmdkfuse/privileges.h"
#include "vmdkfuse/readiness.h"
#include "vmdkfuse/supervisor.h"
#include "vmdkfuse/unmount.h"

namespace vmdkfuse {
namespace {

using vmdk::Disk;
using vmdk::Error;
using vmdk::ErrorCode;
using vmdk::Result;
using vmdk::Status;

class Daemon {
 public:
  Daemon(const Options& options, bool in_background)
      : options_(options), in_background_(in_background), log_(options.log_threshold) {}

  // Everything up to a mount that serves. kBusy with EINTR: a signal came first.
  Status start();
  void announce(Reporter& reporter);
  int serve_to_the_end();

 private:
  Status prepare_mountpoint();
  Status hand_over();
  Status open_disk();
  Status start_mount();
  Status mount();
  void close_inherited();
  Status publish();
  void describe();
  void describe_partitions();
  void repeat_salvaged();
  std::string close_all();
  Status interrupted() const;

  const std::string& image() const { return options_.arguments[0]; }

  const Options& options_;
  const bool in_background_;
  Log log_;
  // What is held open because it could not be opened any more when it is needed.
  const ManagerSocket manager_;
  vmdk::UniqueFd null_device_;
  std::vector<int> inherited_;
  Container container_;
  int landlock_abi_ = 0;  // 0: not restricted
  // In the order of their making; the files' locks go before the peers of the socket hear the end.
  std::optional<ControlSocket> control_;
  vmdk::PosixFileSystem file_system_;
  Mountpoint mountpoint_;
  std::optional<Mounter> mounter_;
  std::unique_ptr<Disk> disk_;
  std::unique_ptr<Supervisor> supervisor_;
  std::unique_ptr<Server> server_;
};

Status Daemon::prepare_mountpoint() {
  const std::string& given = options_.arguments[1];
  ASSIGN_OR_RETURN(mountpoint_, find_mountpoint(given));
  if (!mountpoint_.stale)
    return {};
  if (!options_.replace_stale)
    return Error::make(ErrorCode::kBusy,
                       fmt::format("{}: a dead FUSE mount is still there (Transport endpoint is "
                                   "not connected)",
                                   given))
        .with_hint(fmt::format("fusermount3 -u -- {}      or add --replace-stale", given));
  const UnmountOutcome outcome = unmount(mountpoint_.path, true);
  if (outcome.result != Unmounted::kDone)
    return Error::make(ErrorCode::kBusy, fmt::format("{}: the dead mount cannot be removed: {}",
                                                     given, outcome.text));
  ASSIGN_OR_RETURN(mountpoint_, find_mountpoint(given));
  if (mountpoint_.stale)
    return Error::make(ErrorCode::kBusy, fmt::format("{}: another dead mount was beneath", given));
  return {};
}

// Whether the system, not the kind of the image nor a rule of ours, forbids writing. The refusals
// of ours have an errno too, but do not end with its text.
bool is_write_protected(const Error& error) {
  const int err = error.errno_value();
  if (err != EACCES && err != EPERM && err != EROFS)
    return false;
  return error.message().ends_with(": " + std::generic_category().message(err));
}

// Who cannot have the image alone may perhaps read it; who is not root any more is told so.
Error with_way_out(Error error, const Options& options) {
  if (options.account && error.hint().empty() && error.errno_value() == EACCES)
    return std::move(error).with_hint(
        fmt::format("image files are opened as {} (--user)", options.account->name));
  if (options.share || error.hint() != vmdk::kInUseHint)
    return error;
  return std::move(error).with_hint(
      fmt::format("{}, or read beside it: -r --share", vmdk::kInUseHint));
}

// From here on only the mounter has the rights of root, and image files are opened with those of
// the user: a path in an image reaches nothing that he cannot reach.
Status Daemon::hand_over() {
  if (!options_.account)
    return {};
  RETURN_IF_ERROR(become(*options_.account));
  // The daemon gives its mount the size of the disk by its name.
  if (access(mountpoint_.path.c_str(), F_OK) == 0)
    return {};
  return Error::from_errno(errno, mountpoint_.path)
      .with_hint(fmt::format("user {} (--user) has to be able to reach the mountpoint",
                             options_.account->name));
}

Status Daemon::open_disk() {
  vmdk::OpenOptions open = plan_open(options_, log_.sink());
  auto disk = Disk::open(file_system_, image(), open);
  if (!disk && open.access == vmdk::Access::kReadWrite && is_write_protected(disk.error())) {
    if (options_.insist_on_writing)
      return std::move(disk).error().with_hint("without -w it is mounted read-only");
    open.access = vmdk::Access::kReadOnly;
    auto protected_disk = Disk::open(file_system_, image(), open);
    // Where reading is refused as well, the first answer was about more than writing.
    if (protected_disk) {
      disk = std::move(protected_disk);
      log_.warning(fmt::format("{}: write-protected, mounted read-only", image()));
    }
  }
  if (!disk)
    return with_way_out(with_descriptor_hint(std::move(disk).error()), options_);
  disk_ = *std::move(disk);
  if (!options_.overlay.empty() && options_.overlay != "tmp")
    RETURN_IF_ERROR(require_own_file(options_.overlay));
  if (options_.share)
    log_.warning(fmt::format("{}: read beside a writer: the view may be torn", image()));
  return {};
}

Status Daemon::interrupted() const {
  if (ending_signal_pending())
    return Error::from_errno(EINTR, image());
  return {};
}

// Why fusermount3 refuses to mount for an ordinary user, where that can be seen; else empty.
std::string wish_of_fusermount(const std::string& mountpoint) {
  if (geteuid() == 0)
    return "";
  if (getpwuid(geteuid()) == nullptr)
    return fmt::format(
        "fusermount3 mounts only for users with a name, and {} has none in /etc/passwd", geteuid());
  if (access(mountpoint.c_str(), W_OK) != 0)
    return "fusermount3 mounts only over a file or directory that the user may write to";
  return "";
}

Status Daemon::mount() {
  ASSIGN_OR_RETURN(MountOptions plan, plan_mount(options_, mountpoint_, *disk_, log_.sink()));
  std::error_code gone;
  plan.info = [this, shown = plan, folder = std::filesystem::current_path(gone)] {
    return mount_info_json(folder, options_, shown, *disk_, server_->shown());
  };
  plan.log_text = [this] { return log_.recent(); };
  ASSIGN_OR_RETURN(supervisor_, Supervisor::create(*disk_, log_, manager_));
  auto device = mounter_->mount(plan.read_only);
  if (!device) {
    std::string hint = fuse_hint(container_, 0);
    const std::string& text = device.error().message();
    const bool refused = lacks_rights(container_) ||
                         text.find("not permitted") != std::string::npos ||
                         text.find("Permission denied") != std::string::npos;
    if (!hint.empty() && refused)
      return std::move(device).error().with_hint(std::move(hint));
    return std::move(device).error().with_hint(wish_of_fusermount(mountpoint_.path));
  }
  ASSIGN_OR_RETURN(server_, Server::attach(*disk_, std::move(plan), device->release()));
  server_->on_last_close([this] { supervisor_->last_file_closed(); });
  server_->on_end([this] { supervisor_->session_ended(); });
  close_inherited();
  // Before the first thread: the system keeps such things for each.
  ASSIGN_OR_RETURN(landlock_abi_, confine(options_.sandbox, mountpoint_.path, log_));
  return server_->start();
}

// Rights too, which the sandbox does not touch.
void Daemon::close_inherited() {
  if (options_.sandbox == SandboxChoice::kOff && !options_.account)
    return;
  for (const int descriptor : inherited_) {
    if (descriptor != options_.ready_fd)
      close(descriptor);
  }
}

// The mount serves; now its names may appear.
Status Daemon::publish() {
  ASSIGN_OR_RETURN(Mounter::Published published, mounter_->publish());
  auto control =
      published.socket
          ? ControlSocket::listen(std::move(published.socket), landlock_abi_)
          : Result<ControlSocket>(Error::make(ErrorCode::kUnsupported, published.why_no_socket));
  if (control)
    control_.emplace(*std::move(control));
  else
    log_.info(fmt::format("no socket for vmdkfuse -u: {}", control.error().message()));
  return {};
}

// What is wrong with the table is told by who shows it.
void Daemon::describe_partitions() {
  if (!mountpoint_.directory || !options_.partitions)
    return;
  const auto table = vmdk::read_partition_table(*disk_);
  if (!table)
    return;
  for (const vmdk::Partition& each : table->partitions)
    log_.info(fmt::format("{}/flat{}: {}{}", options_.arguments[1], each.number,
                          vmdk::format_size(each.length), each.extended ? ", extended" : ""));
}

void Daemon::describe() {
  const vmdk::DiskInfo info = disk_->info();
  const std::string kind = info.layers.empty() ? "" : info.layers.front().create_type;
  log_.info(fmt::format("{}: {}, {} {} ({}), {}", image(), vmdk::format_size(disk_->capacity()),
                        info.layers.size(), info.layers.size() == 1 ? "layer" : "layers", kind,
                        disk_->writable() ? "read-write" : "read-only"));
  if (!options_.overlay.empty())
    log_.info(fmt::format("{}: stays as it is; writes go to {}", image(), info.layers[0].file));
  log_.info(fmt::format("{}{}: {}, {} allocated", options_.arguments[1],
                        mountpoint_.directory ? "/flat" : "", vmdk::format_size(disk_->capacity()),
                        vmdk::format_size(disk_->allocated())));
  describe_partitions();
  if (!lets_root_in(options_))
    log_.info(
        "note: root cannot read this mount (no allow_root, no allow_other); \"sudo losetup\" will "
        "say Permission denied");
}

Status Daemon::start_mount() {
  RETURN_IF_ERROR(interrupted());
  RETURN_IF_ERROR(require_spare_descriptors());
  auto status = mount();
  if (status)
    status = publish();
  if (!status) {
    // Ends the session where there is one: nobody has seen it yet.
    static_cast<void>(mounter_->unmount(true));
    server_.reset();
  }
  return status;
}

Status Daemon::start() {
  inherited_ = inherited_descriptors();
  prepare_process();
  if (!options_.log_file.empty())
    RETURN_IF_ERROR(log_.open_file(options_.log_file));
  RETURN_IF_ERROR(prepare_mountpoint());
  container_ = look_at_container();
  RETURN_IF_ERROR(check_fuse_device(container_));
  RETURN_IF_ERROR(require_sandbox(options_.sandbox));
  if (in_background_)
    null_device_ = open_null_device();
  ASSIGN_OR_RETURN(Mounter mounter, Mounter::start(options_, mountpoint_.path));
  mounter_.emplace(std::move(mounter));
  RETURN_IF_ERROR(hand_over());
  RETURN_IF_ERROR(open_disk());
  // Before the first request, which may change what is described.
  describe();
  if (auto status = start_mount(); !status) {
    // The sandbox may have closed already.
    if (!disk_->abandon() && !mounter_->remove_overlay())
      log_.warning(fmt::format("{}: could not be taken away again", options_.overlay));
    return status;
  }
  if (options_.tune_bdi) {
    for (const std::string& line : mounter_->tune_bdi())
      log_.warning(line);
  }
  return {};
}

// Stderr has it already: whoever asks for it later looks into the log.
void Daemon::repeat_salvaged() {
  if (!options_.salvage)
    return;
  for (const std::string& line : disk_->info().salvaged)
    log_.warning("salvaged: " + line);
}

void Daemon::announce(Reporter& reporter) {
  tell_ready(options_.ready_fd);
  manager_.notify(fmt::format("READY=1\nMAINPID={}", getpid()));
  if (!reporter.in_background()) {
    log_.stay_in_foreground();
    if (!options_.log_file.empty())
      repeat_salvaged();
    return;
  }
  log_.leave_stderr();
  repeat_salvaged();
  leave_terminal(std::move(null_device_));
  reporter.ready();
}

// What is to be said to those who wait for the end; empty: all went well.
std::string Daemon::close_all() {
  std::string verdict;
  // Where nobody serves any more although the connection is there, nobody would answer the
  // question.
  if (const auto status = server_->wait(); !status)
    verdict = status.error().message();
  else if (mounter_->mount_is_dead())
    verdict =
        fmt::format("{}: the connection to the kernel was aborted while the disk was mounted{}",
                    image(), disk_->writable() ? "; what it had not handed over is lost" : "");
  if (const auto lost = server_->lost_writes(); lost.count > 0)
    verdict = Error::from_errno(lost.first_errno,
                                fmt::format("{}: {} writes from the page cache could not be stored",
                                            image(), lost.count))
                  .message();
  const auto closed = disk_->close();
  if (!closed)
    verdict = fmt::format("{}: the last commit failed: {}", image(), closed.error().message());
  server_.reset();
  supervisor_.reset();
  disk_.reset();
  return verdict;
}

int Daemon::serve_to_the_end() {
  supervisor_->run(
      mountpoint_.path, [this](bool detach) { return mounter_->unmount(detach); },
      control_ ? &*control_ : nullptr);
  if (control_)
    control_->say("closing");
  manager_.notify("STOPPING=1");
  const std::string verdict = close_all();
  if (!verdict.empty())
    log_.error(verdict);
  if (control_)
    control_->say(verdict.empty() ? "done" : fmt::format("failed {}", verdict));
  return verdict.empty() ? kOk : kSystem;
}

int exit_code_of(const Error& error) {
  return error.errno_value() == EINTR ? kInterrupted : kMountFailed;
}

}  // namespace

int run_daemon(const Options& options, Reporter& reporter) {
  Daemon daemon(options, reporter.in_background());
  if (const auto status = daemon.start(); !status) {
    const std::string text = status.error().to_text();
    const int exit_code = exit_code_of(status.error());
    tell_failed(options.ready_fd, text);
    if (reporter.in_background())
      reporter.failed(exit_code, text);
    else
      fmt::print(stderr, "vmdkfuse: {}\n", vmdk::printable_lines(text));
    return exit_code;
  }
  daemon.announce(reporter);
  return daemon.serve_to_the_end();
}

}  // namespace vmdkfuse
