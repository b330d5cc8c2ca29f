#include "vmdkfuse/mount_plan.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <thread>

#include <fmt/format.h>

#include "vmdkfuse/option_list.h"

namespace vmdkfuse {
namespace {

using vmdk::Error;
using vmdk::ErrorCode;
using vmdk::Result;
using vmdk::Status;

vmdk::Overlay plan_overlay(const std::string& wish) {
  if (wish != "tmp")
    return {.file = wish, .scratch_dir = {}};
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::temp_directory_path(error);
  // What stands in the way is said when the file is made there.
  return {.file = {}, .scratch_dir = error ? "/tmp" : folder};
}

bool asks_for(const Options& options, std::string_view name) {
  return std::find(options.mount_options.begin(), options.mount_options.end(), name) !=
         options.mount_options.end();
}

mode_t plan_mode(const Options& options, const vmdk::Disk& disk) {
  const mode_t mode = options.mode.value_or(disk.permissions() & 0666U);
  return disk.writable() ? mode : mode & ~static_cast<mode_t>(0222);
}

// In a file mount the write-back cache needs us to truncate our own mount, with our own rights.
bool may_truncate(const MountOptions& mount) {
  return geteuid() == 0 || (mount.uid == geteuid() && (mount.mode & 0200U) != 0);
}

Result<CacheMode> plan_cache(const Options& options, const MountOptions& mount) {
  const bool writeback_works = !mount.read_only && (mount.directory || may_truncate(mount));
  switch (options.cache) {
    case CacheChoice::kAuto:
      // What lies over a lost part of a damaged disk cannot be written piece by piece. Its writer
      // is told, and not whoever closes the file after the kernel has written its pages back.
      return writeback_works && !options.salvage ? CacheMode::kWriteback : CacheMode::kWritethrough;
    case CacheChoice::kWriteback:
      // Asked for a writable mount, and the image turned out to be write-protected.
      if (mount.read_only)
        return CacheMode::kWritethrough;
      if (!writeback_works)
        return Error::make(ErrorCode::kInvalidArgument,
                           "--cache=writeback on a file needs an owner (--uid, --mode) who is you "
                           "and may write")
            .with_hint("mount on a directory, or use --cache=writethrough");
      return CacheMode::kWriteback;
    case CacheChoice::kWritethrough:
      return CacheMode::kWritethrough;
    case CacheChoice::kNone:
      return CacheMode::kNone;
  }
  return CacheMode::kWritethrough;
}

// A disk over a file of its own would hide that file from everybody else: where they look for the
// image, or for a parent, they would find the disk.
Status require_no_file_of(const vmdk::DiskInfo& info, const Mountpoint& mountpoint) {
  const auto is_there = [&](const std::string& file) {
    std::error_code not_known;
    return !file.empty() && std::filesystem::equivalent(file, mountpoint.path, not_known);
  };
  for (const vmdk::LayerInfo& layer : info.layers) {
    const bool of_extent =
        std::any_of(layer.extents.begin(), layer.extents.end(),
                    [&](const vmdk::ExtentInfo& extent) { return is_there(extent.file); });
    if (of_extent || is_there(layer.file))
      return Error::make(ErrorCode::kInvalidArgument,
                         fmt::format("{}: the disk cannot be mounted on a file of its own image",
                                     mountpoint.path))
          .with_hint("mount it on another file, or on a directory");
  }
  return {};
}

}  // namespace

vmdk::OpenOptions plan_open(const Options& options, vmdk::LogSink log) {
  vmdk::OpenOptions open;
  open.access = options.read_only ? vmdk::Access::kReadOnly : vmdk::Access::kReadWrite;
  if (!options.overlay.empty())
    open.overlay = plan_overlay(options.overlay);
  open.layer = options.layer;
  open.salvage = options.salvage;
  open.share = options.share;
  open.force_children = options.force_children;
  open.force_stale_lck = options.force_stale_lck;
  open.force_journal = options.force_journal;
  open.force_tables = options.force_tables;
  open.drop_change_tracking = options.drop_cbt;
  open.allow_devices = options.allow_devices;
  open.ignore_cid = options.ignore_cid;
  open.allow_dirs = options.allow_dirs;
  open.parents = options.parents;
  open.search_dirs = options.search_dirs;
  open.batch_grains = options.batch_grains;
  open.table_cache = options.table_cache;
  open.commit_interval = std::chrono::seconds(options.commit_seconds);
  open.log = std::move(log);
  return open;
}

std::vector<std::string> plan_mount_options(const Options& options, bool read_only) {
  const std::string image = std::filesystem::absolute(options.arguments[0]).lexically_normal();
  std::vector<std::string> result = {"fsname=" + escape_option(image), "subtype=vmdkfuse",
                                     read_only ? "ro" : "rw"};
  // The kernel checks owner and permissions; we never look at who asks.
  result.emplace_back("default_permissions");
  // Root's mounts are for everybody whom the permissions let in. Others need user_allow_other in
  // /etc/fuse.conf and have to say that they want it.
  if (root_mounts(options) && !asks_for(options, "allow_root") && !asks_for(options, "allow_other"))
    result.emplace_back("allow_other");
  for (const std::string& option : options.mount_options) {
    if (option != "default_permissions")
      result.push_back(option);
  }
  return result;
}

bool root_mounts(const Options& options) noexcept {
  return geteuid() == 0 || options.account.has_value();
}

bool lets_root_in(const Options& options) noexcept {
  return root_mounts(options) || asks_for(options, "allow_root") ||
         asks_for(options, "allow_other");
}

unsigned default_threads(unsigned cpus) noexcept {
  // More than CPUs, because requests wait for the disk.
  return std::clamp(4 * cpus, 8U, 64U);
}

Result<MountOptions> plan_mount(const Options& options, const Mountpoint& mountpoint,
                                const vmdk::Disk& disk, vmdk::LogSink log) {
  RETURN_IF_ERROR(require_no_file_of(disk.info(), mountpoint));
  MountOptions mount;
  mount.mountpoint = mountpoint.path;
  mount.directory = mountpoint.directory;
  mount.partitions = options.partitions;
  mount.layers = options.layers;
  mount.read_only = !disk.writable();
  mount.may_change = options.share;
  mount.uid = options.uid.value_or(getuid());
  mount.gid = options.gid.value_or(getgid());
  mount.mode = plan_mode(options, disk);
  mount.mount_options = plan_mount_options(options, mount.read_only);
  mount.max_read = options.max_read;
  mount.threads = options.threads.value_or(default_threads(std::thread::hardware_concurrency()));
  mount.single_thread = options.single_thread;
  mount.trace = options.trace;
  mount.log = std::move(log);
  ASSIGN_OR_RETURN(mount.cache, plan_cache(options, mount));
  return mount;
}

}  // namespace vmdkfuse
