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
#include "fuse/privilege_promise.h"
#include "fuse/server.h"
#include "fuse/statistics.h"
#include "fuse/text_files.h"
#include "fuse/views.h"

namespace vmdkfuse {

// Thread-safe through its members; `options`, `on_last_close` and what INIT settles are constant
// once requests come.
struct Front {
  Front(vmdk::Disk& the_disk, MountOptions the_options)
      : disk(the_disk),
        options(std::move(the_options)),
        attributes(disk, options),
        views(disk, options),
        errors(options.log) {}

  // The root of a mount was made before the kernel knew that it has to keep the times.
  bool kernel_keeps_time() const noexcept { return writeback && !options.directory; }

  vmdk::Disk& disk;
  const MountOptions options;
  Attributes attributes;
  Views views;
  ErrorLog errors;
  Statistics statistics;
  // What the mount has done, as its file `stats` has it. Any thread; constant once requests come.
  std::function<std::string()> figures;
  TextFiles texts;
  PrivilegePromise privilege_promise;
  Notifier notifier;
  std::function<void()> on_last_close;

  // Settled by INIT.
  unsigned protocol_minor = 0;
  bool writeback = false;
  bool has_extended_attributes = false;
  std::function<void()> on_init;

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
