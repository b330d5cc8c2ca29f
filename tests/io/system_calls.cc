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
  for (auto* error :
       {&p.read_error, &p.write_error, &p.sync_error, &p.allocate_error, &p.seek_error,
        &p.lock_error, &p.quick_read_error, &p.reads, &p.quick_reads, &p.writes, &p.allocations})
    *error = 0;
}

namespace {

// Whether the call fails by plan; sets errno.
bool fails(const std::atomic<int>& error) noexcept {
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

}  // namespace
}  // namespace vmdk::system_calls

using vmdk::system_calls::fails;
using vmdk::system_calls::plan;

extern "C" {

ssize_t pread(int fd, void* into, size_t length, off_t at) {
  ++plan().reads;
  if (fails(plan().read_error))
    return -1;
  return ::syscall(SYS_pread64, fd, into, std::min(length, plan().most_bytes.load()), at);
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
  return ::syscall(SYS_pwrite64, fd, from, std::min(length, plan().most_bytes.load()), at);
}

ssize_t pwritev(int fd, const iovec* parts, int count, off_t at) {
  ++plan().writes;
  if (fails(plan().write_error))
    return -1;
  if (plan().writes_do_nothing)
    return 0;
  std::vector<iovec> cut(parts, parts + std::max(count, 0));
  std::size_t left = plan().most_bytes;
  for (auto& part : cut) {
    part.iov_len = std::min(part.iov_len, left);
    left -= part.iov_len;
  }
  // The system call takes the offset in two halves; on 64 bits the first has it all.
  return ::syscall(SYS_pwritev, fd, cut.data(), count, at, 0);
}

int fdatasync(int fd) {
  return fails(plan().sync_error) ? -1 : static_cast<int>(::syscall(SYS_fdatasync, fd));
}

int fallocate(int fd, int mode, off_t at, off_t length) {
  ++plan().allocations;
  if (fails(plan().allocate_error))
    return -1;
  return static_cast<int>(::syscall(SYS_fallocate, fd, mode, at, length));
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
