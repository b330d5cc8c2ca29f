// Locks on a file that QEMU and this program both understand: one-byte read locks of the open file
// description (fcntl F_OFD_SETLK) at positions that stand for permissions.
//
// A holder keeps byte 100+i for each permission i that it uses and byte 200+i for each that it does
// not grant to others. Whoever comes takes its own bytes first and then looks whether somebody else
// holds 200+i for a permission it wants or 100+i for one it does not grant; if so it gives up.
// Taking before looking makes two that come at once see each other.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include <vmdk/io.h>

namespace vmdk {

// The locks of one open file. Thread-safe. They go when the descriptor is closed.
class FileLocks {
 public:
  // `fd` is open for reading; it and `name`, for messages, must outlive this object.
  FileLocks(int fd, const std::string& name) : fd_(fd), name_(name) {}

  // Changes what is held to the locks of `mode`. kBusy when another open file stands against it,
  // kUnsupported when the file system has no locks; after an error what was held before is kept.
  Status take(LockMode mode);

 private:
  Status acquire(std::uint32_t bytes);
  Status look_for_conflicts(LockMode mode) const;
  void release(std::uint32_t bytes) noexcept;
  Error conflict(int position) const;

  // Constant after construction.
  const int fd_;
  const std::string& name_;
  std::mutex mutex_;
  // Guarded by mutex_: one bit for each locked byte, see file_locks.cc.
  std::uint32_t held_ = 0;
};

}  // namespace vmdk
