// What the request handlers share.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include <vmdk/disk.h>

#include "fuse/attributes.h"
#include "fuse/error_log.h"
#include "fuse/notifier.h"
#include "fuse/open_modes.h"
#include "fuse/server.h"

namespace vmdkfuse {

// Thread-safe through its members; `options`, `on_last_close` and what INIT settles are constant
// once requests come.
struct Front {
  Front(vmdk::Disk& the_disk, MountOptions the_options)
      : disk(the_disk),
        options(std::move(the_options)),
        attributes(disk, options),
        modes(options.cache == CacheMode::kNone || options.may_change),
        errors(options.log) {}

  // The root of a mount was made before the kernel knew that it has to keep the times.
  bool kernel_keeps_time() const noexcept { return writeback && !options.directory; }

  vmdk::Disk& disk;
  const MountOptions options;
  Attributes attributes;
  OpenModes modes;
  ErrorLog errors;
  Notifier notifier;
  std::function<void()> on_last_close;

  // Settled by INIT.
  unsigned protocol_minor = 0;
  bool writeback = false;
  std::function<void()> on_init;

  // The handle (Handle::bits(); 0: none) that ran past the end of the disk. The kernel took its
  // bytes into the cache and we saw them only when it wrote them back. A refusal then would be told
  // to everybody who has the file open, a loop device among them; so the write is answered as done,
  // and the handle hears ENOSPC at its next write, sync or close, whichever comes first. While this
  // is set no attributes are kept by the kernel.
  std::atomic<std::uint64_t> past_end{0};
  // Overruns since somebody was told. The kernel writes back by the handle opened last, which need
  // not be the one that runs on and on: after many, any writer is told.
  std::atomic<std::uint32_t> untold_overruns{0};

  // Writes inside the disk that failed after the kernel had accepted them from somebody, and the
  // errno of the first.
  std::atomic<std::uint64_t> lost_writes{0};
  std::atomic<int> lost_errno{0};

  // In a file mount with the write-back cache the kernel does not move the time of the disk.
  std::atomic<bool> time_is_old{false};
  // Sets it; on the notifier's thread.
  std::function<void()> show_time;
};

}  // namespace vmdkfuse
