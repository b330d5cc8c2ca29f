// The header of a COWD extent: an ESX delta ("vmfsSparse", version 1) or a disk of Workstation 3
// (version 3); docs/format.md, "COWD".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <vmdk/result.h>
#include <vmdk/units.h>

namespace vmdk {

inline constexpr std::size_t kCowdHeaderSize = 2048;
// Offsets, in bytes, of what a writer changes inside the header: 32 bits each.
inline constexpr std::uint64_t kCowdFreeSectorOffset = 28;
inline constexpr std::uint64_t kCowdUncleanMarkOffset = 1648;
// What a free sector can say at most.
inline constexpr std::uint64_t kCowdLastFreeSector = 0xFFFFFFFF;

// Field names follow docs/format.md.
struct CowdHeader {
  std::uint32_t version = 1;
  std::uint32_t flags = 3;
  Sectors capacity;
  Sectors grain_size;
  Sectors gd_offset;
  std::uint32_t directory_entries = 0;
  std::uint32_t free_sector = 0;  // the next grain or table may go there; not judged
  bool unclean = false;

  // Of Workstation 3: other tables, and nobody writes it any more.
  bool is_workstation3() const noexcept { return version == 3; }

  std::uint32_t entries_per_table() const noexcept { return is_workstation3() ? 512 : 4096; }

  // No overflow after decoding.
  std::uint64_t grain_bytes() const noexcept { return grain_size.count() * kSectorSize; }

  // Tables that the capacity needs.
  std::uint64_t table_count() const noexcept;
  // Bytes: the end of the directory, before which no grain and no table lies.
  std::uint64_t metadata_end() const noexcept;
};

// Checks everything that the header alone can show; kCorrupt or kUnsupported with the field and its
// value in the message.
Result<CowdHeader> decode_cowd_header(std::span<const std::byte, kCowdHeaderSize> bytes);

// kCorrupt when the directory does not lie in a file of that length (bytes), which also bounds its
// memory.
Status validate_against_file(const CowdHeader& header, std::uint64_t file_size);

}  // namespace vmdk
