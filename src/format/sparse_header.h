// The header of a hosted sparse extent ("KDMV"), 512 bytes at the start of the file, and the layout
// that follows from it (docs/format.md, "Hosted sparse extent").
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <vmdk/result.h>
#include <vmdk/units.h>

namespace vmdk {

inline constexpr std::size_t kSparseHeaderSize = 512;
// Offset, in bytes, of the mark of an unfinished session inside the header.
inline constexpr std::uint64_t kUncleanMarkOffset = 72;
inline constexpr std::uint32_t kEntriesPerTable = 512;
inline constexpr std::uint64_t kGrainTableSize = kEntriesPerTable * 4;  // bytes
// gdOffset of a stream whose directory is named by a footer.
inline constexpr std::uint64_t kDirectoryAtEnd = 0xFFFFFFFFFFFFFFFF;

namespace sparse_flag {
inline constexpr std::uint32_t kNewlineBytes = 1U << 0U;
inline constexpr std::uint32_t kRedundantTables = 1U << 1U;
inline constexpr std::uint32_t kZeroedGrains = 1U << 2U;
inline constexpr std::uint32_t kCompressed = 1U << 16U;
inline constexpr std::uint32_t kMarkers = 1U << 17U;
}  // namespace sparse_flag

// Field names follow docs/format.md.
struct SparseHeader {
  std::uint32_t version = 1;
  std::uint32_t flags = sparse_flag::kNewlineBytes | sparse_flag::kRedundantTables;
  Sectors capacity;
  Sectors grain_size{128};
  Sectors descriptor_offset;  // 0: none
  Sectors descriptor_size;
  std::uint32_t entries_per_table = kEntriesPerTable;
  Sectors rgd_offset;  // meaningful with kRedundantTables
  Sectors gd_offset;
  Sectors overhead;
  bool unclean = false;
  std::uint16_t compress_algorithm = 0;

  bool has_redundant_tables() const noexcept {
    return (flags & sparse_flag::kRedundantTables) != 0;
  }

  // An entry of 1 means a grain of zeros.
  bool has_zeroed_grains() const noexcept {
    return version >= 2 && (flags & sparse_flag::kZeroedGrains) != 0;
  }

  bool is_compressed() const noexcept { return (flags & sparse_flag::kCompressed) != 0; }

  // Grain size and table coverage in bytes; capacity in bytes. No overflow after decoding.
  std::uint64_t grain_bytes() const noexcept { return grain_size.count() * kSectorSize; }

  std::uint64_t capacity_bytes() const noexcept { return capacity.count() * kSectorSize; }

  std::uint64_t table_coverage() const noexcept { return grain_bytes() * entries_per_table; }

  // Grain tables that the capacity needs.
  std::uint64_t table_count() const noexcept;
  // Sectors of one grain directory.
  std::uint64_t directory_sectors() const noexcept;
};

// Checks everything that the 512 bytes alone can show; kCorrupt or kUnsupported with the field and
// its value in the message. Capacity 0 is let through only with a descriptor (a wrapper).
Result<SparseHeader> decode_sparse_header(std::span<const std::byte, kSparseHeaderSize> bytes);
std::array<std::byte, kSparseHeaderSize> encode_sparse_header(const SparseHeader& header);

// What the header says against the length of its file (bytes): offsets inside the file, areas
// apart from each other, directory not longer than the file, overhead behind the tables' area.
// For uncompressed extents.
Status validate_against_file(const SparseHeader& header, std::uint64_t file_size);

// The same for a compressed extent, whose grains may lie before, between and behind its metadata.
// Requires: `header` names the directory (it is the footer where the header names none).
Status validate_stream_against_file(const SparseHeader& header, std::uint64_t file_size);

// The layout of a new extent: header, descriptor, redundant directory and tables, directory and
// tables, padding to a whole grain. Fills the offsets of the returned header.
struct SparseLayout {
  SparseHeader header;
  std::uint64_t file_size = 0;              // bytes: overhead
  std::uint64_t first_redundant_table = 0;  // sector of the redundant table 0
  std::uint64_t first_table = 0;            // sector of the primary table 0
};

// Requires: a valid grain size; descriptor_sectors 0 for a member of a split image.
// kInvalidArgument when the metadata alone would pass 2^32 sectors of file, or, with
// `holds_everything`, a full extent would: without it, such an extent takes writes until it is
// full.
Result<SparseLayout> lay_out_sparse_extent(Sectors capacity, Sectors grain_size,
                                           std::uint64_t descriptor_sectors, bool zeroed_grains,
                                           bool holds_everything = true);

}  // namespace vmdk
