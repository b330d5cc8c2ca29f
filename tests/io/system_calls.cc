#undef _FORTIFY_SOURCE  // its inline versions would stand in the way of the definitions below

#include "system_calls.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <vector>

namespace vmdk::system_calls {

Plan& plan() noexcept {
  static Plan the_plan;
  return the_plan;
}

void reset() noexcept {
  auto& p = plan();
  p.most_bytes = SIZE_MAX;
  p.interruptions = 0;
  p.writes_do_nothing = false;
  p.syncs_do_nothing = false;
  for (auto* number : {&p.interrupted_call, &p.short_transfer, &p.calls, &p.transfers})
    *number = 0;
  for (auto* error : {&p.read_error, &p.write_error, &p.sync_error, &p.allocate_error,
                      &p.seek_error, &p.lock_error, &p.quick_read_error, &p.reads, &p.quick_reads,
                      &p.writes, &p.allocations, &p.started_writes})
    *error = 0;
  p.start_flags = 0;
}

namespace {

const std::atomic<int> kNoError{0};

// Whether the call fails by plan; sets errno.
bool fails(const std::atomic<int>& error) noexcept {
  if (++plan().calls == plan().interrupted_call) {
    errno = EINTR;
    return true;
  }
  auto& left = plan().interruptions;
  for (int seen = left; seen > 0;) {
    if (left.compare_exchange_weak(seen, seen - 1)) {
      errno = EINTR;
      return true;
    }
  }
  if (error != 0)
    errno = error;
  return error != 0;
}

// How much of a read or write of so many bytes is done.
std::size_t some_of(std::size_t length) noexcept {
  auto& p = plan();
  const bool is_short = ++p.transfers == p.short_transfer;
  return std::min(is_short && length > 1 ? length / 2 : length, p.most_bytes.load());
}

}  // namespace
}  // namespace vmdk::system_calls

using vmdk::system_calls::fails;
using vmdk::system_calls::kNoError;
using vmdk::system_calls::plan;
using vmdk::system_calls::some_of;

extern "C" {

ssize_t pread(int fd, void* into, size_t length, off_t at) {
  ++plan().reads;
  if (fails(plan().read_error))
    return -1;
  return ::syscall(SYS_pread64, fd, into, some_of(length), at);
}

ssize_t preadv2(int fd, const iovec* parts, int count, off_t at, int flags) {
  ++plan().quick_reads;
  if (fails(plan().quick_read_error))
    return -1;
  const auto place = static_cast<unsigned long>(at);
  return ::syscall(SYS_preadv2, fd, parts, count, place, 0, flags);
}

ssize_t pwrite(int fd, const void* from, size_t length, off_t at) {
  ++plan().writes;
  if (fails(plan().write_error))
    return -1;
  if (plan().writes_do_nothing)
    return 0;
  return ::syscall(SYS_pwrite64, fd, from, some_of(length), at);
}

ssize_t pwritev(int fd, const iovec* parts, int count, off_t at) {
  ++plan().writes;
  if (fails(plan().write_error))
    return -1;
  if (plan().writes_do_nothing)
    return 0;
  std::vector<iovec> cut(parts, parts + std::max(count, 0));
  std::size_t length = 0;
  for (const auto& part : cut)
    length += part.iov_len;
  std::size_t left = some_of(length);
  for (auto& part : cut) {
    part.iov_len = std::min(part.iov_len, left);
    left -= part.iov_len;
  }
  // The system call takes the offset in two halves; on 64 bits the first has it all.
  return ::syscall(SYS_pwritev, fd, cut.data(), count, at, 0);
}

int fdatasync(int fd) {
  if (fails(plan().sync_error))
    return -1;
  return plan().syncs_do_nothing ? 0 : static_cast<int>(::syscall(SYS_fdatasync, fd));
}

int fsync(int fd) {
  if (fails(plan().sync_error))
    return -1;
  return plan().syncs_do_nothing ? 0 : static_cast<int>(::syscall(SYS_fsync, fd));
}

int ftruncate(int fd, off_t length) noexcept {
  return fails(kNoError) ? -1 : static_cast<int>(::syscall(SYS_ftruncate, fd, length));
}

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  // There only when a file may be made; what is read else means nothing, and is not looked at.
  const auto mode = va_arg(arguments, unsigned);
  va_end(arguments);
  if (fails(kNoError))
    return -1;
  return static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}

int fallocate(int fd, int mode, off_t at, off_t length) {
  ++plan().allocations;
  if (fails(plan().allocate_error))
    return -1;
  return static_cast<int>(::syscall(SYS_fallocate, fd, mode, at, length));
}

int sync_file_range(int fd, off_t at, off_t length, unsigned flags) {
  ++plan().started_writes;
  plan().start_flags = flags;
  return static_cast<int>(::syscall(SYS_sync_file_range, fd, at, length, flags));
}

off_t lseek(int fd, off_t at, int whence) noexcept {
  if ((whence == SEEK_DATA || whence == SEEK_HOLE) && fails(plan().seek_error))
    return -1;
  return ::syscall(SYS_lseek, fd, at, whence);
}

int fcntl(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  if ((command == F_OFD_SETLK || command == F_OFD_GETLK) && fails(plan().lock_error))
    return -1;
  return static_cast<int>(::syscall(SYS_fcntl, fd, command, argument));
}

}  // extern "C"
