// Reading and writing.
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <span>

#include "fuse/handlers.h"
#include "fuse/io_buffer.h"

namespace vmdkfuse {
namespace {

void on_read(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t offset,
             fuse_file_info* file) noexcept {
  const auto text = [&](Front& front) {
    return read_text(request, front, node, size, offset, *file);
  };
  guarded_file(request, node, text, [&](Front& front, View& view) {
    // Memory is not sized by whatever stands in a message.
    if (size > kLongestRead)
      return EINVAL;
    const auto at = static_cast<std::uint64_t>(offset);
    const std::span<std::byte> buffer = io_buffer(static_cast<std::size_t>(view.inside(at, size)));
    const auto got = front.disk.read(view.place.begin + at, buffer, view.place.layer);
    if (!got)
      return front.errors.report("read", got.error());
    Statistics::add(front.statistics.reads);
    Statistics::add(front.statistics.read_bytes, *got);
    const auto* bytes = reinterpret_cast<const char*>(buffer.data());  // NOLINT: libfuse's type
    fuse_reply_buf(request, bytes, *got);
    return 0;
  });
}

void mark_written(Front& front, View& view) noexcept {
  view.written.store(true);
  front.attributes.touch();
}

// Returns the errno to reply, 0 when all is well.
int write_inside(Front& front, View& view, std::uint64_t at, std::span<const std::byte> bytes,
                 bool from_cache) {
  if (bytes.empty())
    return 0;
  if (const auto status = front.disk.write(view.place.begin + at, bytes); !status) {
    if (from_cache && front.lost_writes.fetch_add(1) == 0)
      front.lost_errno.store(status.error().errno_value());
    return front.errors.report("write", status.error());
  }
  mark_written(front, view);
  Statistics::add(front.statistics.writes);
  Statistics::add(front.statistics.written_bytes, bytes.size());
  if (front.kernel_keeps_time())
    front.time_is_old.store(true, std::memory_order_relaxed);
  return 0;
}

// The kernel wrote back what it had accepted past the end, and the writer has long been told that
// all went well. Stop it and take the size back.
void stop_past_end(Front& front, View& view, std::uint64_t handle) {
  view.past_end.store(handle, std::memory_order_release);
  view.untold_overruns.fetch_add(1);
  restore_size(front, view);
}

void on_write(fuse_req_t request, fuse_ino_t node, const char* data, std::size_t size, off_t offset,
              fuse_file_info* file) noexcept {
  guarded_view(request, node, [&](Front& front, View& view) {
    const auto at = static_cast<std::uint64_t>(offset);
    const auto count = static_cast<std::size_t>(view.inside(at, size));
    const bool from_cache = file->writepage != 0;
    if (view.place.read_only)
      return EROFS;
    const auto bytes = std::as_bytes(std::span(data, count));
    if (const int wrong = write_inside(front, view, at, bytes, from_cache); wrong != 0)
      return wrong;
    if (count < size && from_cache) {
      stop_past_end(front, view, file->fh);
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
void on_fallocate(fuse_req_t request, fuse_ino_t node, int mode, off_t offset, off_t length,
                  fuse_file_info*) noexcept {
  guarded_view(request, node, [&](Front& front, View& view) {
    const bool punch = mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    const bool zero = (mode & ~FALLOC_FL_KEEP_SIZE) == FALLOC_FL_ZERO_RANGE;
    if (view.place.read_only)
      return EROFS;
    if (!punch && !zero)
      return EOPNOTSUPP;
    const auto at = static_cast<std::uint64_t>(offset);
    const auto wanted = static_cast<std::uint64_t>(length);
    const std::uint64_t count = view.inside(at, wanted);
    if (count < wanted && (mode & FALLOC_FL_KEEP_SIZE) == 0)
      return EFBIG;
    if (count > 0) {
      const vmdk::DiskOffset begin = view.place.begin + at;
      const auto status = punch ? front.disk.discard(begin, count) : front.disk.zero(begin, count);
      if (!status)
        return front.errors.report(punch ? "discard" : "zero", status.error());
      mark_written(front, view);
      Statistics::add(front.statistics.clears);
    }
    answer_ok(request);
    return 0;
  });
}

// Where the next data or hole of the view is, from an offset inside it; nothing when no data
// follows.
vmdk::Result<std::optional<std::uint64_t>> seek(Front& front, const View& view, int whence,
                                                std::uint64_t from) {
  using Found = std::optional<std::uint64_t>;
  // The kernel asks without writing its dirty pages first, also those of other views; under them
  // everything may be data.
  if (view.place.layer == 0 && front.views.has_writers())
    return Found(whence == SEEK_DATA ? from : view.length());
  const vmdk::DiskOffset begin = view.place.begin;
  if (whence == SEEK_HOLE) {
    ASSIGN_OR_RETURN(const vmdk::DiskOffset hole,
                     front.disk.next_hole(begin + from, view.place.layer));
    return Found(std::min(hole - begin, view.length()));
  }
  ASSIGN_OR_RETURN(const auto data, front.disk.next_data(begin + from, view.place.layer));
  return data && *data < view.end() ? Found(*data - begin) : Found();
}

void on_lseek(fuse_req_t request, fuse_ino_t node, off_t offset, int whence,
              fuse_file_info*) noexcept {
  guarded_view(request, node, [&](Front& front, View& view) {
    if (whence != SEEK_DATA && whence != SEEK_HOLE)
      return EINVAL;
    if (offset < 0 || static_cast<std::uint64_t>(offset) >= view.length())
      return ENXIO;
    const auto found = seek(front, view, whence, static_cast<std::uint64_t>(offset));
    if (!found)
      return front.errors.report("lseek", found.error());
    if (!found->has_value())
      return ENXIO;
    fuse_reply_lseek(request, static_cast<off_t>(**found));
    return 0;
  });
}

}  // namespace

void add_data_handlers(fuse_lowlevel_ops& handlers) noexcept {
  handlers.read = on_read;
  handlers.write = on_write;
  handlers.fallocate = on_fallocate;
  handlers.lseek = on_lseek;
}

}  // namespace vmdkfuse
