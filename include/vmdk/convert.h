// Copies of disks in other formats.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <vmdk/byte_source.h>
#include <vmdk/create.h>
#include <vmdk/io.h>
#include <vmdk/progress.h>
#include <vmdk/result.h>

namespace vmdk {

// Of streams: of a tree of files, no larger than what QEMU writes, in a third of the time; 4 would
// be larger by more than a hundredth.
inline constexpr int kDefaultDeflateLevel = 5;
inline constexpr unsigned kMostConvertThreads = 64;

struct ConvertOptions {
  std::optional<ImageType> type = ImageType::kMonolithicSparse;  // nullopt: a raw file
  // As in CreateOptions; also of streamOptimized.
  std::uint64_t grain_size = 64 * kKiB;
  // As in CreateOptions; streamOptimized: lsilogic.
  std::string adapter;
  int level = kDefaultDeflateLevel;  // streamOptimized: 1 (fast) to 12 (small)
  unsigned threads = 1;              // that read and compress; 1 to kMostConvertThreads
  // Of a stream, bytes; a longer one is EFBIG.
  std::uint64_t most_bytes = std::numeric_limits<std::uint64_t>::max();
  // Reads the result back and compares it with the source, which must not be sequential().
  bool verify = false;
  Progress progress;  // bytes of the disk; from the beginning again while it is verified
  // Asked now and then; true ends the work with EINTR. May be empty.
  std::function<bool()> interrupted;
  // Asked when all is read and nothing revealed yet: whether a sequential() source held what it
  // said and no more. May be empty.
  std::function<Status()> input_ended;
};

// Writes the disk into a new image, durable when it returns. Grains that are all zeros take no
// space. Existing files are never overwritten; each file has its name only when it is whole; on an
// error, also one of verifying, what was made is removed. Returns the paths made, the image first.
Result<std::vector<std::filesystem::path>> convert_image(FileSystem& file_system,
                                                         ByteSource& source,
                                                         const std::filesystem::path& target,
                                                         const ConvertOptions& options);

// The same for one that is written from its first byte to its last: a raw file, or streamOptimized
// (kInvalidArgument for other types, and for `verify`).
Status convert_to_sink(FileSystem& file_system, ByteSource& source, ByteSink& sink,
                       const ConvertOptions& options);

// Writes a part of the disk, with threads, progress (bytes of the part) and interrupted of the
// options. When a place cannot be read, all bytes before it are written. Requires: the part is
// inside the disk.
Status copy_to_sink(ByteSource& source, DiskOffset begin, std::uint64_t length, ByteSink& sink,
                    const ConvertOptions& options);

}  // namespace vmdk
