// The grain records of a compressed stream: read, judged, inflated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

namespace vmdk {

// What the records of one extent are judged by; bytes.
struct StreamShape {
  std::uint64_t grain_bytes = 0;
  std::uint64_t extent_bytes = 0;
  std::uint64_t file_size = 0;

  // Marker and compressed bytes in whole sectors. Data that cannot be compressed grows a little;
  // what is twice as long as a grain is no grain.
  std::uint64_t longest_record() const noexcept;
};

// Where an entry says that the record of a grain begins.
struct RecordPlace {
  std::uint64_t grain = 0;
  std::uint32_t sector = 0;

  FileOffset begin() const noexcept { return FileOffset(sector * kSectorSize); }
};

// One thread at a time, and one reader a thread: the memory for compressed bytes belongs to the
// thread, so that reading takes none once it is warm.
class RecordReader {
 public:
  RecordReader(const File& file, const StreamShape& shape);
  RecordReader(const RecordReader&) = delete;
  RecordReader& operator=(const RecordReader&) = delete;

  // Reads a stretch of the file with one call; the records in it then need none of their own.
  Status fetch(FileOffset begin, std::uint64_t length);

  // Fills `into`, a whole grain, zeros behind what the record holds. Returns the length of the
  // record in the file, bytes. kCorrupt, without the name of the file, when the record cannot be
  // right; other codes when reading fails.
  Result<std::uint64_t> inflate(const RecordPlace& place, std::span<std::byte> into);

 private:
  Result<std::span<const std::byte>> bytes(FileOffset at, std::uint64_t length);
  std::uint64_t used_bytes(std::uint64_t grain) const noexcept;

  const File& file_;
  const StreamShape shape_;
  std::vector<std::byte>& window_;
  FileOffset window_begin_;
  std::uint64_t window_length_ = 0;
};

}  // namespace vmdk
