// Opening and closing, and what writers are told there.
#include <fcntl.h>

#include <cerrno>
#include <chrono>

#include "fuse/handlers.h"

namespace vmdkfuse {
namespace {

void forget_handle(Front& front, View& view, Handle handle) noexcept {
  const Views::Closed closed = front.views.close(view, handle);
  std::uint64_t killed = handle.bits();  // nobody is left to be told
  view.past_end.compare_exchange_strong(killed, 0, std::memory_order_acq_rel);
  if (closed.last_writer)
    front.disk.request_commit();
  if (closed.drops_pages)
    front.notifier.drop_pages();
  if (closed.last && front.on_last_close)
    front.on_last_close();
}

int open_view(fuse_req_t request, Front& front, View& view, const fuse_file_info& file) {
  if ((front.options.read_only || view.place.read_only) && (file.flags & O_ACCMODE) != O_RDONLY)
    return EROFS;
  const auto opened = front.views.open(view, file.flags);
  if (!opened)
    return front.errors.report("open", opened.error());
  const Handle handle = opened->mode.handle;
  if (opened->mode.first_writer)
    front.notifier.refresh_attributes();
  if (opened->drops_pages)
    front.notifier.drop_pages();
  compat::OpenReply reply;
  reply.handle = handle.bits();
  reply.direct_io = handle.direct();
  reply.parallel_direct_writes = handle.direct();
  reply.keep_cache = !handle.direct() && !handle.renews_cache();
  if (compat::reply_open(request, reply, front.protocol_minor) < 0)
    forget_handle(front, view, handle);
  return 0;
}

void on_open(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) noexcept {
  guarded_file(
      request, node, [&](Front& front) { return open_text(request, front, node, *file); },
      [&](Front& front, View& view) { return open_view(request, front, view, *file); });
}

void on_release(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) noexcept {
  guarded_file(
      request, node, [&](Front& front) { return close_text(request, front, node, *file); },
      [&](Front& front, View& view) {
        forget_handle(front, view, Handle(file->fh));
        answer_ok(request);
        return 0;
      });
}

// close(2): no sync, but a failure that is already known is said.
void on_flush(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) noexcept {
  const auto text = [&](Front& front) { return keep_text(request, front, node); };
  guarded_file(request, node, text, [&](Front& front, View& view) {
    // Before the answer: whoever comes after the close sees the partitions that were made.
    if (Handle(file->fh).writable())
      front.views.closes(view);
    if (const auto status = front.disk.sticky_status(); !status)
      return status.error().errno_value();
    if (take_past_end(view, file->fh)) {
      settle_end(front, view);
      return ENOSPC;
    }
    // Told by a sync, behind whose answer the size is set: right for whoever comes after the close.
    if (Handle(file->fh).writable() && (view.size_is_wrong.load() || view.size_is_being_set.load()))
      wait_for_size(front);
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

void on_fsync(fuse_req_t request, fuse_ino_t node, int, fuse_file_info* file) noexcept {
  const auto text = [&](Front& front) { return keep_text(request, front, node); };
  guarded_file(request, node, text, [&](Front& front, View& view) {
    Statistics::add(front.statistics.syncs);
    if (const auto status = front.disk.flush(); !status)
      return front.errors.report("fsync", status.error());
    // The kernel holds the file locked: the size is set behind our answer.
    if (take_past_end(view, file->fh)) {
      restore_size(front, view);
      return ENOSPC;
    }
    answer_ok(request);
    return 0;
  });
}

void on_fsyncdir(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) noexcept {
  guarded(request, [&](Front& front) {
    if (const auto status = front.disk.flush(); !status)
      return front.errors.report("fsync", status.error());
    answer_ok(request);
    return 0;
  });
}

}  // namespace

bool take_past_end(View& view, std::uint64_t handle) noexcept {
  constexpr std::uint32_t kPatience = 256;
  if (handle == 0)
    return false;
  std::uint64_t expected = handle;
  bool taken = view.past_end.compare_exchange_strong(expected, 0, std::memory_order_acq_rel);
  if (!taken && Handle(handle).writable() && view.untold_overruns.load() > kPatience)
    taken = view.past_end.exchange(0, std::memory_order_acq_rel) != 0;
  if (taken)
    view.untold_overruns.store(0);
  return taken;
}

void restore_size(Front& front, View& view) noexcept {
  view.size_is_wrong.store(true);
  front.notifier.restore_size();
}

void settle_end(Front& front, View& view) {
  restore_size(front, view);
  wait_for_size(front);
}

void wait_for_size(Front& front) {
  constexpr std::chrono::milliseconds kPatience{200};
  if (!front.options.single_thread)
    front.notifier.wait_until_idle(kPatience);
}

void add_open_handlers(fuse_lowlevel_ops& handlers) noexcept {
  handlers.open = on_open;
  handlers.release = on_release;
  handlers.flush = on_flush;
  handlers.fsync = on_fsync;
  handlers.fsyncdir = on_fsyncdir;
}

}  // namespace vmdkfuse
