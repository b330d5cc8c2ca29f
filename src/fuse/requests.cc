#include "fuse/requests.h"

#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "fuse/io_buffer.h"

namespace vmdkfuse {
namespace {

constexpr double kForever = 86400;  // seconds; what changes is told to the kernel
constexpr const char* kFlatName = "flat";

Front& front_of(fuse_req_t request) noexcept {
  return *static_cast<Front*>(fuse_req_userdata(request));
}

// Two errnos, whatever file they come from, say something else to the kernel and to whoever uses a
// mount: ENOSYS, that there is no such request here, so that every later fsync succeeds without
// being sent; ENOTCONN, that the daemon has died.
int as_answer(int err) noexcept {
  return err == ENOSYS || err == ENOTCONN ? EIO : err;
}

// Runs a handler that either has replied (0) or returns the errno to reply. Nothing may be thrown
// after the reply.
template <class Handler>
void guarded(fuse_req_t request, Handler handler) noexcept {
  int answer = 0;
  try {
    answer = handler(front_of(request));
  } catch (const std::bad_alloc&) {
    answer = ENOMEM;
  } catch (const std::exception&) {
    answer = EIO;
  }
  if (answer != 0)
    fuse_reply_err(request, as_answer(answer));
}

double attribute_lifetime(const Front& front) noexcept {
  const bool kept =
      !front.options.may_change && front.past_end.load(std::memory_order_acquire) == 0;
  return kept ? kForever : 0;
}

int reply_attributes(fuse_req_t request, const Front& front, fuse_ino_t node) noexcept {
  const struct stat found = front.attributes.of(node);
  fuse_reply_attr(request, &found, attribute_lifetime(front));
  return 0;
}

void answer_ok(fuse_req_t request) noexcept {
  fuse_reply_err(request, 0);
}

// --- the session ---------------------------------------------------------------------------------

void on_init(void* user_data, fuse_conn_info* connection) noexcept {
  auto& front = *static_cast<Front*>(user_data);
  const auto set = [&](std::uint64_t capability, bool on) {
    return compat::set_capability(*connection, capability, on);
  };
  connection->max_write = static_cast<unsigned>(kMaxRequest);
  connection->max_background = 256;
  connection->congestion_threshold = 192;
  set(FUSE_CAP_ASYNC_READ, true);
  set(FUSE_CAP_ASYNC_DIO, true);
  // Truncation must come as SETATTR, which we answer with the true size.
  set(FUSE_CAP_ATOMIC_O_TRUNC, false);
  // Nobody changes the image behind our back (its locks see to that), so pages stay.
  set(FUSE_CAP_AUTO_INVAL_DATA, false);
  set(FUSE_CAP_EXPLICIT_INVAL_DATA, true);
  for (const auto capability : {FUSE_CAP_SPLICE_READ, FUSE_CAP_SPLICE_WRITE, FUSE_CAP_SPLICE_MOVE})
    set(static_cast<std::uint64_t>(capability), false);
  front.writeback = set(FUSE_CAP_WRITEBACK_CACHE, front.options.cache == CacheMode::kWriteback);
  compat::allow_mapping_of_direct_files(*connection);
  compat::ignore_interrupts(*connection);
  if (front.options.max_read != 0)
    connection->max_read = front.options.max_read;
  front.protocol_minor = connection->proto_minor;
  front.on_init();
}

// --- names and attributes ------------------------------------------------------------------------

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) noexcept {
  guarded(request, [&](Front& front) {
    fuse_entry_param entry{};
    entry.entry_timeout = kForever;
    if (!front.options.directory || parent != kRootNode)
      return ENOTDIR;
    // Node 0 says that there is no such name, and lets the kernel remember it.
    if (std::strcmp(name, kFlatName) == 0) {
      entry.ino = kFlatNode;
      entry.attr = front.attributes.of(kFlatNode);
      entry.attr_timeout = attribute_lifetime(front);
    }
    fuse_reply_entry(request, &entry);
    return 0;
  });
}

// Whether the handle ran past the end; it is told once.
bool take_past_end(Front& front, std::uint64_t handle) noexcept {
  constexpr std::uint32_t kPatience = 256;
  if (handle == 0)
    return false;
  std::uint64_t expected = handle;
  bool taken = front.past_end.compare_exchange_strong(expected, 0, std::memory_order_acq_rel);
  if (!taken && Handle(handle).writable() && front.untold_overruns.load() > kPatience)
    taken = front.past_end.exchange(0, std::memory_order_acq_rel) != 0;
  if (taken)
    front.untold_overruns.store(0);
  return taken;
}

// The writer that ran past the end hears of it when the size is right again, so that what comes
// after finds a disk in order. The wait is short because lseek() asks for attributes with the file
// locked, and then the size cannot be set before our answer.
void settle_end(Front& front) {
  constexpr std::chrono::milliseconds kPatience{200};
  front.notifier.restore_size();
  if (!front.options.single_thread)
    front.notifier.wait_until_idle(kPatience);
}

void on_getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) noexcept {
  guarded(request, [&](Front& front) {
    if (file != nullptr && front.attributes.is_disk(node) && take_past_end(front, file->fh)) {
      settle_end(front);
      return ENOSPC;
    }
    return reply_attributes(request, front, node);
  });
}

timespec chosen_time(bool now, const timespec& given) noexcept {
  if (!now)
    return given;
  timespec present{};
  clock_gettime(CLOCK_REALTIME_COARSE, &present);
  return present;
}

// The kind, owner and permissions belong to the mount.
bool changes_owner_or_mode(const struct stat& present, const struct stat& wanted,
                           int which) noexcept {
  constexpr mode_t kPermissions = 07777;
  return ((which & FUSE_SET_ATTR_MODE) != 0 &&
          ((present.st_mode ^ wanted.st_mode) & kPermissions) != 0) ||
         ((which & FUSE_SET_ATTR_UID) != 0 && present.st_uid != wanted.st_uid) ||
         ((which & FUSE_SET_ATTR_GID) != 0 && present.st_gid != wanted.st_gid);
}

void on_setattr(fuse_req_t request, fuse_ino_t node, struct stat* wanted, int which,
                fuse_file_info*) noexcept {
  guarded(request, [&](Front& front) {
    if (changes_owner_or_mode(front.attributes.of(node), *wanted, which))
      return EPERM;
    if (!front.attributes.is_disk(node))
      return reply_attributes(request, front, node);
    // As on a block device: a truncation succeeds and changes nothing, growth is refused.
    if ((which & FUSE_SET_ATTR_SIZE) != 0 &&
        (wanted->st_size < 0 ||
         static_cast<std::uint64_t>(wanted->st_size) > front.disk.capacity()))
      return EFBIG;
    if ((which & FUSE_SET_ATTR_MTIME) != 0)
      front.attributes.set_modified(
          chosen_time((which & FUSE_SET_ATTR_MTIME_NOW) != 0, wanted->st_mtim));
    if ((which & FUSE_SET_ATTR_ATIME) != 0)
      front.attributes.set_accessed(
          chosen_time((which & FUSE_SET_ATTR_ATIME_NOW) != 0, wanted->st_atim));
    return reply_attributes(request, front, node);
  });
}

void on_statfs(fuse_req_t request, fuse_ino_t) noexcept {
  guarded(request, [&](Front& front) {
    const struct statvfs found = front.attributes.of_file_system();
    fuse_reply_statfs(request, &found);
    return 0;
  });
}

void on_readdir(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t offset,
                fuse_file_info*) noexcept {
  guarded(request, [&](Front& front) {
    if (front.attributes.is_disk(node))
      return ENOTDIR;
    struct Entry {
      const char* name;
      std::uint64_t node;
    };
    constexpr std::array kEntries = {Entry{".", kRootNode}, Entry{"..", kRootNode},
                                     Entry{kFlatName, kFlatNode}};
    std::array<char, 512> buffer{};
    std::size_t used = 0;
    for (auto i = static_cast<std::size_t>(std::max<off_t>(offset, 0)); i < kEntries.size(); ++i) {
      const struct stat found = front.attributes.of(kEntries[i].node);
      const std::size_t room = std::min(size, buffer.size()) - used;
      const std::size_t needed = fuse_add_direntry(
          request, buffer.data() + used, room, kEntries[i].name, &found, static_cast<off_t>(i) + 1);
      if (needed > room)
        break;
      used += needed;
    }
    fuse_reply_buf(request, buffer.data(), used);
    return 0;
  });
}

// --- opening and closing -------------------------------------------------------------------------

void forget_handle(Front& front, Handle handle) noexcept {
  const OpenModes::Closed closed = front.modes.close(handle);
  std::uint64_t killed = handle.bits();  // nobody is left to be told
  front.past_end.compare_exchange_strong(killed, 0, std::memory_order_acq_rel);
  if (closed.last_writer)
    front.disk.request_commit();
  if (closed.last && front.on_last_close)
    front.on_last_close();
}

void on_open(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) noexcept {
  guarded(request, [&](Front& front) {
    if (!front.attributes.is_disk(node))
      return EISDIR;
    if (front.options.read_only && (file->flags & O_ACCMODE) != O_RDONLY)
      return EROFS;
    const OpenModes::Opened opened = front.modes.open(file->flags);
    if (opened.first_writer)
      front.notifier.refresh_attributes();
    compat::OpenReply reply;
    reply.handle = opened.handle.bits();
    reply.direct_io = opened.handle.direct();
    reply.parallel_direct_writes = opened.handle.direct();
    reply.keep_cache = !opened.handle.direct() && !opened.handle.renews_cache();
    if (compat::reply_open(request, reply, front.protocol_minor) < 0)
      forget_handle(front, opened.handle);
    return 0;
  });
}

void on_release(fuse_req_t request, fuse_ino_t, fuse_file_info* file) noexcept {
  guarded(request, [&](Front& front) {
    forget_handle(front, Handle(file->fh));
    answer_ok(request);
    return 0;
  });
}

// close(2): no sync, but a failure that is already known is said.
void on_flush(fuse_req_t request, fuse_ino_t, fuse_file_info* file) noexcept {
  guarded(request, [&](Front& front) {
    if (const auto status = front.disk.sticky_status(); !status)
      return status.error().errno_value();
    if (take_past_end(front, file->fh)) {
      settle_end(front);
      return ENOSPC;
    }
    // The time is set while the file is still open, so that an unmount that follows the close
    // does not meet us at it. Not for readers: the notifier itself is one at times.
    if (Handle(file->fh).writable() && front.time_is_old.exchange(false)) {
      front.notifier.run_once([&front, request] {
        front.show_time();
        answer_ok(request);
      });
      return 0;
    }
    answer_ok(request);
    return 0;
  });
}

void on_fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info* file) noexcept {
  guarded(request, [&](Front& front) {
    if (const auto status = front.disk.flush(); !status)
      return front.errors.report("fsync", status.error());
    // The kernel holds the file locked: the size is set behind our answer.
    if (take_past_end(front, file->fh)) {
      front.notifier.restore_size();
      return ENOSPC;
    }
    answer_ok(request);
    return 0;
  });
}

// --- data ----------------------------------------------------------------------------------------

void on_read(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset,
             fuse_file_info*) noexcept {
  guarded(request, [&](Front& front) {
    // Memory is not sized by whatever stands in a message.
    if (size > kLongestRead)
      return EINVAL;
    const std::span<std::byte> buffer = io_buffer(size);
    const auto got = front.disk.read(vmdk::DiskOffset(static_cast<std::uint64_t>(offset)), buffer);
    if (!got)
      return front.errors.report("read", got.error());
    const auto* bytes = reinterpret_cast<const char*>(buffer.data());  // NOLINT: libfuse's type
    fuse_reply_buf(request, bytes, *got);
    return 0;
  });
}

// How many of `size` bytes at `offset` are before the end of the disk.
std::uint64_t inside(const Front& front, std::uint64_t offset, std::uint64_t size) noexcept {
  const std::uint64_t capacity = front.disk.capacity();
  return offset >= capacity ? 0 : std::min(size, capacity - offset);
}

// Returns the errno to reply, 0 when all is well.
int write_inside(Front& front, std::uint64_t at, std::span<const std::byte> bytes,
                 bool from_cache) {
  if (bytes.empty())
    return 0;
  if (const auto status = front.disk.write(vmdk::DiskOffset(at), bytes); !status) {
    if (from_cache && front.lost_writes.fetch_add(1) == 0)
      front.lost_errno.store(status.error().errno_value());
    return front.errors.report("write", status.error());
  }
  front.attributes.touch();
  if (front.kernel_keeps_time())
    front.time_is_old.store(true, std::memory_order_relaxed);
  return 0;
}

// The kernel wrote back what it had accepted past the end, and the writer has long been told that
// all went well. Stop it and take the size back.
void stop_past_end(Front& front, std::uint64_t handle) {
  front.past_end.store(handle, std::memory_order_release);
  front.untold_overruns.fetch_add(1);
  front.notifier.restore_size();
}

void on_write(fuse_req_t request, fuse_ino_t, const char* data, std::size_t size, off_t offset,
              fuse_file_info* file) noexcept {
  guarded(request, [&](Front& front) {
    const auto at = static_cast<std::uint64_t>(offset);
    const auto count = static_cast<std::size_t>(inside(front, at, size));
    const bool from_cache = file->writepage != 0;
    const auto bytes = std::as_bytes(std::span(data, count));
    if (const int wrong = write_inside(front, at, bytes, from_cache); wrong != 0)
      return wrong;
    if (count < size && from_cache) {
      stop_past_end(front, file->fh);
      fuse_reply_write(request, size);
      return 0;
    }
    if (count == 0)
      return ENOSPC;
    // For a synchronous write around the cache the kernel sends no FSYNC.
    if (!from_cache && (file->flags & (O_SYNC | O_DSYNC)) != 0) {
      if (const auto status = front.disk.flush(); !status)
        return front.errors.report("synchronous write", status.error());
    }
    fuse_reply_write(request, count);
    return 0;
  });
}

// As on a block device: only holes and zeros, and only inside.
void on_fallocate(fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t length,
                  fuse_file_info*) noexcept {
  guarded(request, [&](Front& front) {
    const bool punch = mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    const bool zero = (mode & ~FALLOC_FL_KEEP_SIZE) == FALLOC_FL_ZERO_RANGE;
    if (!punch && !zero)
      return EOPNOTSUPP;
    const auto at = static_cast<std::uint64_t>(offset);
    const auto wanted = static_cast<std::uint64_t>(length);
    const std::uint64_t count = inside(front, at, wanted);
    if (count < wanted && (mode & FALLOC_FL_KEEP_SIZE) == 0)
      return EFBIG;
    if (count > 0) {
      const vmdk::DiskOffset begin(at);
      const auto status = punch ? front.disk.discard(begin, count) : front.disk.zero(begin, count);
      if (!status)
        return front.errors.report(punch ? "discard" : "zero", status.error());
      front.attributes.touch();
    }
    answer_ok(request);
    return 0;
  });
}

// Where the next data or hole is, from an offset inside the disk; nothing when no data follows.
vmdk::Result<std::optional<vmdk::DiskOffset>> seek(Front& front, int whence,
                                                   vmdk::DiskOffset from) {
  // The kernel asks without writing its dirty pages first; under them everything may be data.
  if (front.modes.has_writers())
    return whence == SEEK_DATA ? from : vmdk::DiskOffset(front.disk.capacity());
  if (whence == SEEK_DATA)
    return front.disk.next_data(from);
  ASSIGN_OR_RETURN(const vmdk::DiskOffset hole, front.disk.next_hole(from));
  return hole;
}

void on_lseek(fuse_req_t request, fuse_ino_t, off_t offset, int whence, fuse_file_info*) noexcept {
  guarded(request, [&](Front& front) {
    if (whence != SEEK_DATA && whence != SEEK_HOLE)
      return EINVAL;
    if (offset < 0 || static_cast<std::uint64_t>(offset) >= front.disk.capacity())
      return ENXIO;
    const auto found = seek(front, whence, vmdk::DiskOffset(static_cast<std::uint64_t>(offset)));
    if (!found)
      return front.errors.report("lseek", found.error());
    if (!found->has_value())
      return ENXIO;
    fuse_reply_lseek(request, static_cast<off_t>((*found)->bytes()));
    return 0;
  });
}

// --- what a directory of fixed names refuses -----------------------------------------------------

template <class... Arguments>
void refuse(fuse_req_t request, Arguments...) noexcept {
  fuse_reply_err(request, front_of(request).options.read_only ? EROFS : EPERM);
}

}  // namespace

fuse_lowlevel_ops request_handlers() noexcept {
  fuse_lowlevel_ops handlers{};
  handlers.init = on_init;
  handlers.lookup = on_lookup;
  handlers.getattr = on_getattr;
  handlers.setattr = on_setattr;
  handlers.statfs = on_statfs;
  handlers.readdir = on_readdir;
  handlers.open = on_open;
  handlers.release = on_release;
  handlers.flush = on_flush;
  handlers.fsync = on_fsync;
  handlers.fsyncdir = on_fsync;
  handlers.read = on_read;
  handlers.write = on_write;
  handlers.fallocate = on_fallocate;
  handlers.lseek = on_lseek;
  handlers.create = refuse;
  handlers.mknod = refuse;
  handlers.mkdir = refuse;
  handlers.symlink = refuse;
  handlers.link = refuse;
  handlers.unlink = refuse;
  handlers.rmdir = refuse;
  handlers.rename = refuse;
  return handlers;
}

}  // namespace vmdkfuse
