#include "fuse/open_modes.h"

#include <fcntl.h>

namespace vmdkfuse {

OpenModes::Opened OpenModes::open(int flags, bool direct) noexcept {
  const bool writable = (flags & O_ACCMODE) != O_RDONLY;
  const std::lock_guard lock(mutex_);
  if (open_++ == 0)
    direct_ = always_direct_ || direct || (flags & O_DIRECT) != 0;
  if (direct_ && writable)
    cache_stale_ = true;
  const Handle handle(writable, direct_, !direct_ && cache_stale_, ++serial_);
  const bool first_writer = writable && writers_.fetch_add(1, std::memory_order_acq_rel) == 0;
  return {handle, first_writer};
}

OpenModes::Closed OpenModes::close(Handle handle) noexcept {
  const std::lock_guard lock(mutex_);
  // The kernel drops the old pages after our answer to OPEN, so only the end of such a handle
  // proves that they are gone.
  if (handle.renews_cache())
    cache_stale_ = false;
  Closed closed;
  closed.last_writer = handle.writable() && writers_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  closed.last = --open_ == 0;
  return closed;
}

bool OpenModes::is_open() const noexcept {
  const std::lock_guard lock(mutex_);
  return open_ > 0;
}

bool OpenModes::is_cached() const noexcept {
  const std::lock_guard lock(mutex_);
  return open_ > 0 && !direct_;
}

void OpenModes::make_pages_old() noexcept {
  const std::lock_guard lock(mutex_);
  cache_stale_ = true;
}

}  // namespace vmdkfuse
