#include "io/file_locks.h"

#include <fcntl.h>

#include <cerrno>
#include <cstddef>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "base/hints.h"
#include "io/lock_holder.h"

namespace vmdk {
namespace {

// The permissions are numbered as QEMU numbers them: consistent read 0, write 1, write unchanged 2,
// resize 3.
constexpr int kUses = 100;     // + permission
constexpr int kRefuses = 200;  // + permission
constexpr int kPermissions = 4;

// Sets of lock bytes: bit i is byte 100+i, bit 4+i is byte 200+i.
constexpr std::uint32_t kUsesRead = 1U << 0;
constexpr std::uint32_t kUsesWrite = 1U << 1;
constexpr std::uint32_t kUsesResize = 1U << 3;
constexpr std::uint32_t kRefusesRead = 1U << 4;
constexpr std::uint32_t kRefusesWrite = 1U << 5;
constexpr std::uint32_t kRefusesResize = 1U << 7;

struct ModeLocks {
  std::uint32_t hold;
  std::uint32_t test;
};

ModeLocks locks_of(LockMode mode) noexcept {
  switch (mode) {
    case LockMode::kRead:
      return {kUsesRead | kRefusesWrite | kRefusesResize, kRefusesRead | kUsesWrite | kUsesResize};
    case LockMode::kReadBesideWriter:
      return {kUsesRead, kRefusesRead};
    case LockMode::kWrite:
      break;
  }
  return {kUsesRead | kUsesWrite | kUsesResize | kRefusesWrite | kRefusesResize,
          kRefusesRead | kRefusesWrite | kRefusesResize | kUsesWrite | kUsesResize};
}

constexpr int position_of(int bit) noexcept {
  return bit < kPermissions ? kUses + bit : kRefuses + bit - kPermissions;
}

// Calls `visit(bit)` for each bit of `bytes`, the uses before the refusals, until one is false.
template <class Visit>
bool for_each_byte(std::uint32_t bytes, Visit visit) {
  for (int bit = 0; bit < 2 * kPermissions; ++bit) {
    if ((bytes & (1U << bit)) != 0 && !visit(bit))
      return false;
  }
  return true;
}

int ofd_lock(int fd, int command, struct flock& request) noexcept {
  int result = ::fcntl(fd, command, &request);
  while (result != 0 && errno == EINTR)
    result = ::fcntl(fd, command, &request);
  return result;
}

struct flock one_byte(short type, int position) noexcept {
  struct flock request {};  // l_pid must be 0 for locks of an open file description

  request.l_type = type;
  request.l_whence = SEEK_SET;
  request.l_start = position;
  request.l_len = 1;
  return request;
}

Error cannot_lock(int err, const std::string& name) {
  switch (err) {
    case ENOLCK:
    case EOPNOTSUPP:
    case ENOSYS:
    case EINVAL:
      return Error::make(ErrorCode::kUnsupported,
                         fmt::format("{}: cannot be locked: the file system has no locks: {}", name,
                                     std::generic_category().message(err)));
    default:
      return Error::from_errno(err, fmt::format("{}: cannot be locked", name));
  }
}

const char* what_is_held(int position) noexcept {
  switch (position) {
    case kUses + 1:
      return "a write lock";
    case kUses + 3:
      return "a resize lock";
    case kRefuses + 1:
    case kRefuses + 3:
      return "a read lock";
    default:
      return "an exclusive lock";
  }
}

}  // namespace

Status FileLocks::take(LockMode mode) {
  const std::lock_guard guard(mutex_);
  const auto wanted = locks_of(mode).hold;
  const auto fresh = wanted & ~held_;
  auto status = acquire(fresh);
  if (status)
    status = look_for_conflicts(mode);
  if (!status) {
    release(fresh);
    return status;
  }
  release(held_ & ~wanted);
  held_ = wanted;
  return {};
}

Status FileLocks::acquire(std::uint32_t bytes) {
  Status status;
  for_each_byte(bytes, [&](int bit) {
    auto request = one_byte(F_RDLCK, position_of(bit));
    if (ofd_lock(fd_, F_OFD_SETLK, request) == 0)
      return true;
    // Only a write lock on the byte itself, which no program of this protocol takes, is in the way.
    const int err = errno;
    status = err == EAGAIN || err == EACCES ? Status(conflict(position_of(bit)))
                                            : Status(cannot_lock(err, name_));
    return false;
  });
  return status;
}

Status FileLocks::look_for_conflicts(LockMode mode) const {
  Status status;
  for_each_byte(locks_of(mode).test, [&](int bit) {
    // Asks as if for a write lock, against which every read lock of others stands.
    auto request = one_byte(F_WRLCK, position_of(bit));
    if (ofd_lock(fd_, F_OFD_GETLK, request) != 0)
      status = cannot_lock(errno, name_);
    else if (request.l_type != F_UNLCK)
      status = conflict(position_of(bit));
    return status.has_value();
  });
  return status;
}

void FileLocks::release(std::uint32_t bytes) noexcept {
  for_each_byte(bytes, [&](int bit) {
    auto request = one_byte(F_UNLCK, position_of(bit));
    ofd_lock(fd_, F_OFD_SETLK, request);  // cannot fail for a byte that was locked
    return true;
  });
}

Error FileLocks::conflict(int position) const {
  const auto holder = find_lock_holder(fd_, position);
  auto message =
      holder ? fmt::format("{}: in use: {} holds {}", name_, *holder, what_is_held(position))
             : fmt::format("{}: in use by another program", name_);
  return Error::make(ErrorCode::kBusy, std::move(message)).with_hint(kInUseHint);
}

}  // namespace vmdk
