// Where the bytes of a disk come from, and where they go, when a disk is copied or compared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include <vmdk/disk.h>
#include <vmdk/io.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

namespace vmdk {

// A part of a disk that may hold other bytes than zeros.
struct Stretch {
  DiskOffset begin;
  DiskOffset end;
};

// A disk, a raw file, a pipe. Unless sequential(), any thread may call any function at any time.
class ByteSource {
 public:
  ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;
  virtual ~ByteSource() = default;

  // Bytes, a multiple of 512.
  virtual std::uint64_t capacity() const noexcept = 0;

  // The first stretch with data at or behind `from`; nullopt when only zeros follow.
  virtual Result<std::optional<Stretch>> next_stretch(DiskOffset from) = 0;

  // Fills all of `into`. Requires: the range is inside the disk.
  virtual Status read(DiskOffset at, std::span<std::byte> into) = 0;

  // Whether it can be read only once, by one thread, from the beginning to the end.
  virtual bool sequential() const noexcept { return false; }
};

// An open disk; must outlive the source.
std::unique_ptr<ByteSource> source_of(Disk& disk);

// A raw file as it is now, its holes not read; must outlive the source. The last sector is filled
// up with zeros. A file that becomes shorter later is an error of read().
Result<std::unique_ptr<ByteSource>> source_of(const File& raw);

// The same disk with zeros behind its end, up to `capacity` bytes, a multiple of 512 and not below
// its own; must outlive the source.
std::unique_ptr<ByteSource> padded(ByteSource& source, std::uint64_t capacity);

// Opens a raw file, or a block device, that the user named, and locks it against writers, or, with
// `share`, does not.
Result<std::unique_ptr<File>> open_raw(FileSystem& file_system, const std::filesystem::path& path,
                                       bool share);

// Takes bytes in their order: standard output, a file that grows. For one thread.
class ByteSink {
 public:
  ByteSink() = default;
  ByteSink(const ByteSink&) = delete;
  ByteSink& operator=(const ByteSink&) = delete;
  virtual ~ByteSink() = default;

  virtual Status write(std::span<const std::byte> bytes) = 0;
  // The same as so many zeros.
  virtual Status skip(std::uint64_t length) = 0;
};

}  // namespace vmdk
