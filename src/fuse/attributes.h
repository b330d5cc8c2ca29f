// What stat(2) and statfs(2) say about the mount.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <atomic>
#include <cstdint>

#include <vmdk/disk.h>

#include "fuse/server.h"
#include "fuse/view.h"

namespace vmdkfuse {

// Thread-safe.
class Attributes {
 public:
  // Both must outlive this object.
  Attributes(const vmdk::Disk& disk, const MountOptions& options) noexcept;

  struct stat of(const View& view) const noexcept;
  struct stat of_folder(std::uint64_t node) const noexcept;
  struct stat of_text(std::uint64_t node) const noexcept;
  struct statvfs of_file_system() const noexcept;

  // Times live in memory only: the image's own are what the next mount starts with.
  void set_modified(timespec when) noexcept;
  void set_accessed(timespec when) noexcept;
  // Something was written now.
  void touch() noexcept;

  // Whether st_blocks differs from what was last asked through this function.
  bool blocks_changed() noexcept;

 private:
  std::uint64_t blocks(std::uint64_t most_bytes) const noexcept;

  // constant after construction
  const vmdk::Disk& disk_;
  const MountOptions& options_;
  // Nanoseconds since 1970. Relaxed everywhere: times order nothing.
  std::atomic<std::int64_t> modified_;
  std::atomic<std::int64_t> accessed_;
  std::atomic<std::uint64_t> last_blocks_;
};

}  // namespace vmdkfuse
