#include "fuse/attributes.h"

#include <algorithm>
#include <ctime>

namespace vmdkfuse {
namespace {

constexpr std::int64_t kNanoseconds = 1'000'000'000;
constexpr std::uint64_t kStatBlock = 512;  // the unit of st_blocks, whatever st_blksize says

std::int64_t to_number(timespec when) noexcept {
  return static_cast<std::int64_t>(when.tv_sec) * kNanoseconds + when.tv_nsec;
}

timespec to_time(std::int64_t number) noexcept {
  std::int64_t seconds = number / kNanoseconds;
  std::int64_t rest = number % kNanoseconds;
  if (rest < 0) {
    rest += kNanoseconds;
    --seconds;
  }
  return {.tv_sec = seconds, .tv_nsec = rest};
}

}  // namespace

Attributes::Attributes(const vmdk::Disk& disk, const MountOptions& options) noexcept
    : disk_(disk),
      options_(options),
      modified_(disk.modified_at_open() * kNanoseconds),
      accessed_(disk.modified_at_open() * kNanoseconds),
      last_blocks_(blocks(disk.capacity())) {}

// Of a part of the disk it is not counted which of the blocks are its own.
std::uint64_t Attributes::blocks(std::uint64_t most_bytes) const noexcept {
  const std::uint64_t blocks = std::min(disk_.allocated(), most_bytes) / kStatBlock;
  // tar -S archives a file of 0 blocks as one hole without looking; pages that the kernel has not
  // given us yet would be missing.
  return options_.read_only ? blocks : std::max<std::uint64_t>(blocks, 1);
}

struct stat Attributes::of(const View& view) const noexcept {
  struct stat result {};

  result.st_ino = view.node();
  result.st_mode = S_IFREG | (view.place.read_only ? options_.mode & 0444U : options_.mode);
  result.st_nlink = 1;
  result.st_uid = options_.uid;
  result.st_gid = options_.gid;
  result.st_size = static_cast<off_t>(view.length());
  result.st_blksize = static_cast<blksize_t>(disk_.grain_size());
  result.st_blocks = static_cast<blkcnt_t>(blocks(view.length()));
  result.st_mtim = to_time(modified_.load(std::memory_order_relaxed));
  result.st_ctim = result.st_mtim;
  result.st_atim = to_time(accessed_.load(std::memory_order_relaxed));
  return result;
}

struct stat Attributes::of_folder(std::uint64_t node) const noexcept {
  // Who may read the disk may enter the directory.
  const mode_t readable = options_.mode & 0444U;

  struct stat result {};

  result.st_ino = node;
  result.st_mode = S_IFDIR | readable | (readable >> 2U);
  result.st_nlink = 2;
  result.st_uid = options_.uid;
  result.st_gid = options_.gid;
  result.st_blksize = static_cast<blksize_t>(disk_.grain_size());
  result.st_mtim = to_time(disk_.modified_at_open() * kNanoseconds);
  result.st_ctim = result.st_mtim;
  result.st_atim = result.st_mtim;
  return result;
}

// Nobody knows how long its text will be: as in /proc, readers go on to its end.
struct stat Attributes::of_text(std::uint64_t node) const noexcept {
  struct stat result = of_folder(node);
  result.st_mode = S_IFREG | (options_.mode & 0444U);
  result.st_nlink = 1;
  return result;
}

struct statvfs Attributes::of_file_system() const noexcept {
  // A loop device takes f_bsize as its granularity of discards, so it is the grain.
  const std::uint64_t unit = disk_.grain_size();
  const std::uint64_t all = (disk_.capacity() + unit - 1) / unit;
  const std::uint64_t used = std::min(all, (disk_.allocated() + unit - 1) / unit);

  struct statvfs result {};

  result.f_bsize = unit;
  result.f_frsize = unit;
  result.f_blocks = all;
  result.f_bfree = options_.read_only ? 0 : all - used;
  result.f_bavail = result.f_bfree;
  result.f_files = 1;
  result.f_namemax = 255;
  return result;
}

void Attributes::set_modified(timespec when) noexcept {
  modified_.store(to_number(when), std::memory_order_relaxed);
}

void Attributes::set_accessed(timespec when) noexcept {
  accessed_.store(to_number(when), std::memory_order_relaxed);
}

void Attributes::touch() noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  set_modified(now);
}

bool Attributes::blocks_changed() noexcept {
  const std::uint64_t now = blocks(disk_.capacity());
  return last_blocks_.exchange(now, std::memory_order_relaxed) != now;
}

}  // namespace vmdkfuse
