// Bringing what a snapshot holds into the image beneath it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/progress.h>
#include <vmdk/result.h>

namespace vmdk {

struct CommitOptions {
  // How the chain is opened; what it says of access and views is not looked at. force_children: the
  // parent's other children, which cannot be opened afterwards, are no hindrance.
  OpenOptions open;
  Progress progress;  // bytes of the disk
  // Asked now and then; true ends the work with EINTR, in order. May be empty.
  std::function<bool()> interrupted;
};

struct CommitReport {
  std::filesystem::path parent;
  std::uint64_t held = 0;     // bytes that the child has itself
  std::uint64_t written = 0;  // of them: the parent showed something else
};

// Writes what `child` has itself into its parent, which then shows the same disk; durable when it
// returns. The child stays, a child of what the parent has become, with all that it has.
//
// The child shows the same at any moment, also after a crash, an error or an interruption; the
// parent by itself shows a mixture until the end, which a second call brings about. kBusy: somebody
// uses one of the images, or the parent has other children. Content ids: docs/durability.md.
Result<CommitReport> commit_child(FileSystem& file_system, const std::filesystem::path& child,
                                  const CommitOptions& options);

}  // namespace vmdk
