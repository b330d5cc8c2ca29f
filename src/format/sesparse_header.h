// The two headers of an SESparse extent (snapshots of ESXi 6.5 and later); docs/format.md,
// "SESparse".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <vmdk/result.h>
#include <vmdk/units.h>

namespace vmdk {

inline constexpr std::size_t kSeSparseHeaderSize = 512;  // bytes, each of the two
inline constexpr std::uint32_t kSeSparseEntriesPerTable = 4096;
inline constexpr std::uint64_t kSeSparseEntrySize = 8;  // bytes, of directory and tables
inline constexpr std::uint64_t kSeSparseTableSize = kSeSparseEntriesPerTable * kSeSparseEntrySize;

// A stretch of the file.
struct SeSparseRegion {
  Sectors offset;
  Sectors size;

  // Bytes. No overflow after decoding.
  std::uint64_t begin() const noexcept { return offset.count() * kSectorSize; }

  std::uint64_t end() const noexcept { return (offset.count() + size.count()) * kSectorSize; }
};

// The constant header, at the start of the file. Field names follow docs/format.md.
struct SeSparseHeader {
  Sectors capacity;
  Sectors grain_size;
  SeSparseRegion volatile_header;
  SeSparseRegion journal_header;
  SeSparseRegion journal;
  SeSparseRegion directory;
  SeSparseRegion tables;
  SeSparseRegion free_bitmap;
  SeSparseRegion back_map;
  SeSparseRegion grains;

  // No overflow after decoding.
  std::uint64_t grain_bytes() const noexcept { return grain_size.count() * kSectorSize; }

  // Tables that the capacity needs.
  std::uint64_t table_count() const noexcept;
};

// Checks everything that the 512 bytes alone can show; kCorrupt or kUnsupported with the field and
// its value in the message. Only what is known is let through: this format has no public paper.
Result<SeSparseHeader> decode_sesparse_header(
    std::span<const std::byte, kSeSparseHeaderSize> bytes);

// kCorrupt when the volatile header or the directory does not lie in a file of that length (bytes);
// kUnsupported when the directory is larger than what we keep in memory.
Status validate_against_file(const SeSparseHeader& header, std::uint64_t file_size);

// The volatile header. Returns whether the journal holds changes that the tables do not have yet.
Result<bool> decode_sesparse_journal_state(std::span<const std::byte, kSeSparseHeaderSize> bytes);

}  // namespace vmdk
