// What stat(2) and statfs(2) say about the mount.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <atomic>
#include <cstdint>

#include <vmdk/disk.h>

#include "fuse/server.h"

namespace vmdkfuse {

// The numbers by which the kernel knows our files. In a file mount the root is the disk.
inline constexpr std::uint64_t kRootNode = 1;
inline constexpr std::uint64_t kFlatNode = 2;

// Thread-safe.
class Attributes {
 public:
  // Both must outlive this object.
  Attributes(const vmdk::Disk& disk, const MountOptions& options) noexcept;

  bool is_disk(std::uint64_t node) const noexcept { return node == disk_node_; }

  std::uint64_t disk_node() const noexcept { return disk_node_; }

  struct stat of(std::uint64_t node) const noexcept;
  struct statvfs of_file_system() const noexcept;

  // Times live in memory only: the image's own are what the next mount starts with.
  void set_modified(timespec when) noexcept;
  void set_accessed(timespec when) noexcept;
  // Something was written now.
  void touch() noexcept;

  // Whether st_blocks differs from what was last asked through this function.
  bool blocks_changed() noexcept;

 private:
  struct stat of_disk() const noexcept;
  struct stat of_directory() const noexcept;
  std::uint64_t blocks() const noexcept;

  // constant after construction
  const vmdk::Disk& disk_;
  const MountOptions& options_;
  const std::uint64_t disk_node_;
  // Nanoseconds since 1970. Relaxed everywhere: times order nothing.
  std::atomic<std::int64_t> modified_;
  std::atomic<std::int64_t> accessed_;
  std::atomic<std::uint64_t> last_blocks_;
};

}  // namespace vmdkfuse
