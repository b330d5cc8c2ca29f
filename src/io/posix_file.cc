#include "io/posix_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <vmdk/units.h>

#include "base/hints.h"
#include "base/seeded_fault.h"
#include "base/wait_watch.h"
#include "io/retry.h"
#include "io/way_to.h"

namespace vmdk {
namespace {

// An offset past 2^63 becomes negative, which the system refuses with EINVAL.
off_t to_off(std::uint64_t bytes) noexcept {
  return static_cast<off_t>(bytes);
}

// The parts that a write has still to do: whole ones, the first of which may have been begun.
class PendingParts {
 public:
  explicit PendingParts(std::span<const iovec> parts) : parts_(parts) { skip_finished(); }

  bool empty() const noexcept { return parts_.empty(); }

  // Requires: !empty(). One system call; the bytes written, or -1 with errno.
  ssize_t write_some(int fd, std::uint64_t at) const noexcept {
    const iovec& first = parts_.front();
    // The caller's list is not ours to change, so a part cut in two is finished alone.
    if (begun_ != 0)
      return ::pwrite(fd, static_cast<const std::byte*>(first.iov_base) + begun_,
                      first.iov_len - begun_, to_off(at));
    const auto count = std::min<std::size_t>(parts_.size(), IOV_MAX);
    return ::pwritev(fd, parts_.data(), static_cast<int>(count), to_off(at));
  }

  void advance(std::size_t bytes) noexcept {
    begun_ += bytes;
    skip_finished();
  }

 private:
  void skip_finished() noexcept {
    while (!parts_.empty() && begun_ >= parts_.front().iov_len) {
      begun_ -= parts_.front().iov_len;
      parts_ = parts_.subspan(1);
    }
  }

  std::span<const iovec> parts_;
  std::size_t begun_ = 0;  // bytes of parts_.front() that are written
};

// Both: false with errno; EEXIST when something has that name.

bool name_unnamed(int fd, const char* name) {
  // By its number alone, only a privileged process may.
  return ::linkat(AT_FDCWD, way_to(fd).c_str(), AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0;
}

// An empty file keeps the name free of others until it is replaced.
bool rename_over_own(const char* from, const char* to) noexcept {
  const UniqueFd own(
      retry_on_eintr([&] { return ::open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600); }));
  if (!own)
    return false;
  if (::rename(from, to) == 0)
    return true;
  const int err = errno;
  ::unlink(to);
  errno = err;
  return false;
}

bool rename_new(const char* from, const char* to) noexcept {
  if (::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
    return true;
  if (errno != EINVAL && errno != ENOSYS)
    return false;
  // NFS for one cannot, but can have two names for a moment.
  if (::link(from, to) == 0)
    return ::unlink(from) == 0;
  // Shared folders of virtual machines for one can do neither.
  return errno != EEXIST && rename_over_own(from, to);
}

// Those that only the system itself sets (SELinux for one) are what it gives a new file there.
bool copy_attributes(const char* from, int to) {
  std::vector<char> names(64 * kKiB);
  std::vector<char> value(64 * kKiB);
  const ssize_t length = ::llistxattr(from, names.data(), names.size());
  if (length < 0)
    return errno == EOPNOTSUPP;
  for (const char* name = names.data(); name < names.data() + length;
       name += std::strlen(name) + 1) {
    const ssize_t size = ::lgetxattr(from, name, value.data(), value.size());
    if (size < 0 && errno == ENODATA)
      continue;
    if (size < 0 || ::fsetxattr(to, name, value.data(), static_cast<std::size_t>(size), 0) != 0) {
      if (std::string_view(name).starts_with("security.") ||
          std::string_view(name).starts_with("trusted."))
        continue;
      return false;
    }
  }
  return true;
}

}  // namespace

std::string unfinished_name(const std::filesystem::path& folder) {
  std::random_device random;
  return (folder / fmt::format("{}{:08x}", kUnfinishedName, random())).native();
}

Result<std::unique_ptr<File>> PosixFile::adopt(UniqueFd fd, std::string name) {
  return adopt(std::move(fd), std::move(name), std::nullopt);
}

Result<std::unique_ptr<File>> PosixFile::adopt_hidden(UniqueFd fd, std::string name,
                                                      std::string temporary) {
  return adopt(std::move(fd), std::move(name), std::optional(std::move(temporary)));
}

Result<std::unique_ptr<File>> PosixFile::adopt(UniqueFd fd, std::string name,
                                               std::optional<std::string> temporary) {
  struct stat st {};

  if (::fstat(fd.get(), &st) != 0)
    return Error::from_errno(errno, name);
  const AtOpen at_open{{st.st_dev, st.st_ino}, st.st_mtim.tv_sec, st.st_mode & 07777U};
  return std::unique_ptr<File>(
      new PosixFile(std::move(fd), std::move(name), at_open, std::move(temporary)));
}

PosixFile::PosixFile(UniqueFd fd, std::string name, AtOpen at_open,
                     std::optional<std::string> temporary)
    : fd_(std::move(fd)),
      name_(std::move(name)),
      at_open_(at_open),
      temporary_(std::move(temporary)),
      locks_(fd_.get(), name_) {}

PosixFile::~PosixFile() {
  if (temporary_ && !temporary_->empty())
    ::unlink(temporary_->c_str());
}

Error PosixFile::failed() const {
  return Error::from_errno(errno, name_);
}

Result<std::size_t> PosixFile::read(FileOffset at, std::span<std::byte> into) const {
  std::size_t done = 0;
  while (done < into.size()) {
    const auto rest = into.subspan(done);
    const ssize_t got = retry_on_eintr([&] { return read_some(at.bytes() + done, rest); });
    if (got < 0)
      return failed();
    if (got == 0)
      break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

// One system call, or two when this thread has to wait for the disk and somebody wants to know.
ssize_t PosixFile::read_some(std::uint64_t at, std::span<std::byte> into) const noexcept {
  if (WaitWatch::on()) {
    const iovec part{.iov_base = into.data(), .iov_len = into.size()};
    // An error says only that it cannot be done without waiting, or not in this way; 0 is left for
    // the plain call to confirm.
    if (const ssize_t got = ::preadv2(fd_.get(), &part, 1, to_off(at), RWF_NOWAIT); got > 0)
      return got;
    WaitWatch::about_to_wait();
  }
  return ::pread(fd_.get(), into.data(), into.size(), to_off(at));
}

Status PosixFile::write(FileOffset at, std::span<const iovec> parts) {
  PendingParts pending(parts);
  std::uint64_t position = at.bytes();
  while (!pending.empty()) {
    const ssize_t put = retry_on_eintr([&] { return pending.write_some(fd_.get(), position); });
    if (put < 0)
      return failed();
    if (put == 0)  // no progress and no reason given: trying again could go on for ever
      return Error::from_errno(EIO, name_);
    if (seeded(SeededFault::kShortWriteIgnored))
      return {};
    position += static_cast<std::uint64_t>(put);
    pending.advance(static_cast<std::size_t>(put));
  }
  return {};
}

Status PosixFile::grow(std::uint64_t end) {
  // A stale answer does no harm: a file that is long enough stays so while it is open for writing,
  // and fallocate() on one that has become so in the meantime leaves its length alone.
  ASSIGN_OR_RETURN(const std::uint64_t present, size());
  if (present >= end)
    return {};
  // Not posix_fallocate(): where the system call is missing it writes zeros, racing with writers.
  if (retry_on_eintr([&] { return ::fallocate(fd_.get(), 0, to_off(end - 1), 1); }) != 0)
    return errno == ENOSYS ? Error::from_errno(EOPNOTSUPP, name_) : failed();
  return {};
}

Status PosixFile::resize(std::uint64_t size) {
  if (retry_on_eintr([&] { return ::ftruncate(fd_.get(), to_off(size)); }) != 0)
    return failed();
  return {};
}

Status PosixFile::punch_hole(FileOffset at, std::uint64_t length) {
  if (length == 0)  // which the system would refuse
    return {};
  const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  if (retry_on_eintr(
          [&] { return ::fallocate(fd_.get(), mode, to_off(at.bytes()), to_off(length)); }) != 0)
    // EINVAL: of a device, whose blocks are larger than what was asked for.
    return errno == ENOSYS || errno == EINVAL ? Error::from_errno(EOPNOTSUPP, name_) : failed();
  return {};
}

Status PosixFile::sync() {
  if (retry_on_eintr([&] { return ::fdatasync(fd_.get()); }) != 0)
    return failed();
  return {};
}

Result<std::uint64_t> PosixFile::size() const {
  struct stat st {};

  if (::fstat(fd_.get(), &st) != 0)
    return failed();
  if (!S_ISBLK(st.st_mode))
    return static_cast<std::uint64_t>(st.st_size);
  const off_t end = ::lseek(fd_.get(), 0, SEEK_END);
  if (end < 0)
    return failed();
  return static_cast<std::uint64_t>(end);
}

Result<std::uint64_t> PosixFile::allocated() const {
  struct stat st {};

  if (::fstat(fd_.get(), &st) != 0)
    return failed();
  if (S_ISBLK(st.st_mode))
    return size();
  return static_cast<std::uint64_t>(st.st_blocks) * 512;  // of stat(2), whatever the block size
}

Result<std::optional<FileOffset>> PosixFile::next_data(FileOffset from) const {
  return seek(from, SEEK_DATA);
}

Result<std::optional<FileOffset>> PosixFile::next_hole(FileOffset from) const {
  return seek(from, SEEK_HOLE);
}

Result<std::optional<FileOffset>> PosixFile::seek(FileOffset from, int whence) const {
  using Found = std::optional<FileOffset>;
  if (from.bytes() > static_cast<std::uint64_t>(INT64_MAX))
    return Found();  // no file reaches there
  const off_t found = ::lseek(fd_.get(), to_off(from.bytes()), whence);
  if (found >= 0)
    return Found(FileOffset(static_cast<std::uint64_t>(found)));
  if (errno == ENXIO)
    return Found();
  if (errno != EINVAL && errno != EOPNOTSUPP)
    return failed();
  // No notion of holes here: all is data, and the one hole is the end of the file.
  ASSIGN_OR_RETURN(const std::uint64_t end, size());
  if (from.bytes() >= end)
    return Found();
  return Found(whence == SEEK_DATA ? from : FileOffset(end));
}

void PosixFile::prefetch(FileOffset at, std::uint64_t length) const noexcept {
  if (length != 0)  // 0 would mean: to the end of the file
    ::posix_fadvise(fd_.get(), to_off(at.bytes()), to_off(length), POSIX_FADV_WILLNEED);
}

void PosixFile::start_writing(FileOffset at, std::uint64_t length) noexcept {
  // Without the flags that wait, it does not see, and so does not take away, what fdatasync tells.
  if (length != 0)  // 0 would mean: to the end of the file
    ::sync_file_range(fd_.get(), to_off(at.bytes()), to_off(length), SYNC_FILE_RANGE_WRITE);
}

Status PosixFile::reveal() {
  if (!temporary_)
    return File::reveal();
  const bool done = temporary_->empty() ? name_unnamed(fd_.get(), name_.c_str())
                                        : rename_new(temporary_->c_str(), name_.c_str());
  if (!done)
    return failed();
  temporary_.reset();
  return {};
}

Status PosixFile::take_over_attributes(const struct stat& old) {
  struct stat own {};

  if (::fstat(fd_.get(), &own) != 0)
    return failed();
  const bool other_owner = own.st_uid != old.st_uid || own.st_gid != old.st_gid;
  if (other_owner && ::fchown(fd_.get(), old.st_uid, old.st_gid) != 0)
    return Error::from_errno(errno, name_ + ": a new file cannot be given its owner and group");
  if (!copy_attributes(name_.c_str(), fd_.get()))
    return Error::from_errno(errno, name_ + ": a new file cannot be given its attributes");
  // Behind the owner, a change of which takes bits away.
  if (::fchmod(fd_.get(), old.st_mode & 07777U) != 0)
    return failed();
  if (retry_on_eintr([&] { return ::fsync(fd_.get()); }) != 0)
    return failed();
  return {};
}

Status PosixFile::take_place_of(const File& old) {
  if (!temporary_)
    return File::take_place_of(old);

  struct stat there {};

  if (::lstat(name_.c_str(), &there) != 0)
    return failed();
  if (FileId{there.st_dev, there.st_ino} != old.id())
    return Error::make(ErrorCode::kBusy,
                       name_ + ": was replaced by another program in the meantime");
  if (there.st_nlink > 1)
    return Error::make(
        ErrorCode::kUnsupported,
        fmt::format("{}: the file has {} names (hard links), and only this one would "
                    "lead to what takes its place",
                    name_, there.st_nlink));
  RETURN_IF_ERROR(take_over_attributes(there));
  if (temporary_->empty()) {
    std::string temporary = unfinished_name(std::filesystem::path(name_).parent_path());
    if (!name_unnamed(fd_.get(), temporary.c_str()))
      return failed();
    temporary_ = std::move(temporary);  // goes with this object from now on
  }
  if (::rename(temporary_->c_str(), name_.c_str()) != 0)
    return failed();
  temporary_.reset();
  return {};
}

Status PosixFile::lock(LockMode mode) {
  return locks_.take(mode);
}

}  // namespace vmdk
