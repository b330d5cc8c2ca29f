// The seam below the engine: files and the file system, as the layers above see them.
// src/io implements it with POSIX calls, the tests with files in memory that count, fail or crash.
#pragma once

#include <sys/uio.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <vmdk/result.h>
#include <vmdk/units.h>

namespace vmdk {

enum class Access { kReadOnly, kReadWrite };

// Who else may use a file while we do; expressed in the byte-range locks that QEMU uses, so that
// both programs respect each other (docs/format.md, "Locks").
enum class LockMode {
  kRead,              // others may read, nobody may write
  kReadBesideWriter,  // others may do anything (`--share`)
  kWrite,             // others may do nothing
};

// Names a file whatever path led to it.
struct FileId {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t part = 0;  // byte of the file where a window into it begins; 0: the whole file
  auto operator<=>(const FileId&) const noexcept = default;
};

// An open regular file. All functions may be called from any number of threads at once and are
// positional. Errors carry the errno of the system and name the file.
class File {
 public:
  File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  virtual ~File() = default;

  // Fills `into` from `at`. Fewer bytes than asked only where the file ends.
  virtual Result<std::size_t> read(FileOffset at, std::span<std::byte> into) const = 0;

  // Writes all parts one behind the other from `at`, with as few system calls as the system
  // allows (one, when it does not write short). On an error any prefix may have been written.
  virtual Status write(FileOffset at, std::span<const iovec> parts) = 0;

  // Makes the file at least `end` bytes long. Never shortens it, whatever other threads do;
  // new space reads as zero. EOPNOTSUPP when the file system has no call that can do this: then
  // the caller must use resize(), with no write in flight beyond the present end.
  virtual Status grow(std::uint64_t end) = 0;

  // Sets the length. The caller guarantees that no write is in flight.
  virtual Status resize(std::uint64_t size) = 0;

  // Makes the range read as zero and gives its space back; EOPNOTSUPP where the file system cannot.
  virtual Status punch_hole(FileOffset at, std::uint64_t length) = 0;

  // fdatasync: data and what is needed to find it again.
  virtual Status sync() = 0;

  virtual Result<std::uint64_t> size() const = 0;

  // Bytes that the file occupies on the host (st_blocks × 512).
  virtual Result<std::uint64_t> allocated() const = 0;

  // SEEK_DATA / SEEK_HOLE; nullopt: no data at or behind `from`. A file system without holes
  // answers `from` and the end of the file.
  virtual Result<std::optional<FileOffset>> next_data(FileOffset from) const = 0;
  virtual Result<std::optional<FileOffset>> next_hole(FileOffset from) const = 0;

  // Tells the system that the range is wanted soon. Advice only.
  virtual void prefetch(FileOffset at, std::uint64_t length) const noexcept = 0;

  // Has the system begin to write what was written to the range to the disk; may wait for a busy
  // disk. Advice only: it neither makes anything durable nor takes a failure away from sync().
  virtual void start_writing(FileOffset at, std::uint64_t length) noexcept = 0;

  // Takes the locks of `mode` and keeps them until the file is closed. kBusy names the holder
  // where the system tells; kUnsupported where the file system has no locks.
  virtual Status lock(LockMode mode) = 0;

  // Gives a file of FileSystem::create_hidden() its name, which is not replaced: EEXIST when
  // something has it by now. Other files have theirs: EINVAL.
  virtual Status reveal() { return Error::from_errno(EINVAL, name()); }

  // Gives a file of FileSystem::create_successor() the name of `old`, which loses it: whoever opens
  // the name finds one of the two, whole, at any moment; also after a crash. The owner, the
  // permissions and the extended attributes become those of `old`. kBusy when another file has the
  // name by now; kUnsupported when `old` has more names (hard links), which would keep the old
  // file.
  virtual Status take_place_of(const File& old) { return Error::from_errno(EINVAL, old.name()); }

  virtual FileId id() const noexcept = 0;
  // Seconds since 1970 of the last change of content, when the file was opened.
  virtual std::int64_t modified_at_open() const noexcept = 0;
  // Permission bits (07777) and owner when the file was opened.
  virtual std::uint32_t permissions() const noexcept = 0;
  // The path it was opened by, for messages.
  virtual const std::string& name() const noexcept = 0;
};

class FileSystem {
 public:
  FileSystem() = default;
  FileSystem(const FileSystem&) = delete;
  FileSystem& operator=(const FileSystem&) = delete;
  virtual ~FileSystem() = default;

  // Opens a file that the *user* named; symbolic links are followed. Regular files only; never
  // blocks on a FIFO. kNotFound, kDenied (EACCES, EPERM, EROFS keep their errno).
  virtual Result<std::unique_ptr<File>> open(const std::filesystem::path& path, Access access) = 0;

  // Opens a file that an *image* named: `relative` is looked up beneath `directory` and nothing
  // outside it is ever opened, symbolic links and ".." included (kDenied). Regular files only.
  virtual Result<std::unique_ptr<File>> open_beneath(const std::filesystem::path& directory,
                                                     const std::filesystem::path& relative,
                                                     Access access) = 0;

  // Opens a block device that an image named and the user allowed. Nothing else (kUnsupported); to
  // write, only one that the system itself does not use (EBUSY).
  virtual Result<std::unique_ptr<File>> open_device(const std::filesystem::path& path,
                                                    Access access) = 0;

  // Creates a new file for reading and writing, mode 0666 less the umask; an existing one is an
  // error with EEXIST.
  virtual Result<std::unique_ptr<File>> create(const std::filesystem::path& path) = 0;
  // The same for a file that has its name, and can be found under it, only from File::reveal() on:
  // whoever fills it before shows it whole or not at all, however the process ends. Without
  // reveal() it goes with its handle. Locks taken before are held when the name appears.
  virtual Result<std::unique_ptr<File>> create_hidden(const std::filesystem::path& path) = 0;
  // The same for a file that gets a name which a file has, in place of it: File::take_place_of().
  virtual Result<std::unique_ptr<File>> create_successor(const std::filesystem::path& path) = 0;
  // Creates a file without a name in `directory`, for its owner alone: nobody else can open it, and
  // it goes with its handle, however the process ends.
  virtual Result<std::unique_ptr<File>> create_unnamed(const std::filesystem::path& directory) = 0;
  virtual Status remove(const std::filesystem::path& path) = 0;

  // Makes names created in or removed from `directory` durable.
  virtual Status sync_directory(const std::filesystem::path& directory) = 0;

  // The names in a directory (without "." and ".."), in no order.
  virtual Result<std::vector<std::string>> list(const std::filesystem::path& directory) = 0;

  enum class Kind { kNothing, kFile, kDirectory, kOther };
  // What is at `path` (symbolic links followed); anything that cannot be looked at is kNothing.
  virtual Kind kind(const std::filesystem::path& path) const noexcept = 0;
};

}  // namespace vmdk
