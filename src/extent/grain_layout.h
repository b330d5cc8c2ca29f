// How the grains of one extent are found: the shape of its tables, and the meaning of their
// entries.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include <vmdk/result.h>
#include <vmdk/units.h>

#include "base/bytes.h"
#include "extent/grain_directory.h"
#include "extent/grain_entry.h"
#include "format/cowd_header.h"
#include "format/sesparse_header.h"
#include "format/sparse_header.h"

namespace vmdk {

enum class EntryFormat : std::uint8_t {
  kSectors,   // 32 bits: a sector of the file
  kSeSparse,  // 64 bits: a kind and the number of a grain (docs/format.md, "SESparse")
};

struct GrainLayout {
  GrainDirectory directory;
  std::uint64_t grain_count = 0;  // entries behind it are ignored
  std::uint64_t grain_bytes = 0;
  std::uint64_t data_begin = 0;  // bytes: no grain lies before it
  bool zeroed_grains = false;    // kSectors: an entry of 1 means zeros
  // Grains take as much of the file as they need: a run of data may have gaps, and its sector is
  // that of its first grain only.
  bool compressed = false;
  std::uint32_t entries_per_table = kEntriesPerTable;  // a power of two
  EntryFormat format = EntryFormat::kSectors;
  std::uint64_t data_end = ~std::uint64_t{0};  // kSeSparse: bytes; the region of the grains

  std::size_t entry_bytes() const noexcept { return format == EntryFormat::kSectors ? 4 : 8; }

  std::size_t table_bytes() const noexcept { return entries_per_table * entry_bytes(); }

  // Entries of a table that belong to the extent: fewer than it has in the last.
  std::uint64_t entries_of(std::uint64_t table) const noexcept {
    const std::uint64_t first = table * entries_per_table;
    return std::min<std::uint64_t>(entries_per_table, grain_count - std::min(grain_count, first));
  }

  // The bits of entry `index` of a table as the file has it.
  std::uint64_t raw_entry(std::span<const std::byte> table, std::size_t index) const noexcept {
    return format == EntryFormat::kSectors ? load_le32(table, index * 4)
                                           : load_le64(table, index * 8);
  }

  // What they mean; bad when they cannot be right in a file of that length (bytes).
  GrainEntry decode(std::uint64_t raw, std::uint64_t file_size) const noexcept;
};

// `extent_bytes`: of the disk, at most the capacity.
GrainLayout layout_of(const SparseHeader& header, GrainDirectory directory,
                      std::uint64_t extent_bytes);
GrainLayout layout_of(const CowdHeader& header, GrainDirectory directory,
                      std::uint64_t extent_bytes);
GrainLayout layout_of(const SeSparseHeader& header, GrainDirectory directory,
                      std::uint64_t extent_bytes);

}  // namespace vmdk
