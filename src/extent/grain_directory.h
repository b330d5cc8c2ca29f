// Where the grain tables of a hosted sparse extent are: its grain directories, read and judged.
#pragma once

#include <cstdint>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

#include "extent/open_file.h"
#include "format/sparse_header.h"

namespace vmdk {

struct GrainDirectory {
  std::vector<std::uint32_t> primary;    // sector of each table; 0: there is none
  std::vector<std::uint32_t> redundant;  // the same for the second copies; empty without them

  std::uint64_t table_count() const noexcept { return primary.size(); }

  bool has_redundant() const noexcept { return !redundant.empty(); }

  // A table that is missing in one of the copies.
  bool has_missing_tables() const noexcept;

  FileOffset primary_table(std::uint64_t index) const noexcept {
    return FileOffset(primary[index] * kSectorSize);
  }

  FileOffset redundant_table(std::uint64_t index) const noexcept {
    return FileOffset(redundant[index] * kSectorSize);
  }
};

// Reads both directories. kCorrupt when a table lies outside the file (of `file_size` bytes), in
// another metadata area, or where another table is. Requires: validate_against_file() passed, which
// bounds the memory by the length of the file.
Result<GrainDirectory> read_grain_directory(const File& file, const SparseHeader& header,
                                            std::uint64_t file_size);

// Writes the primary copy of a table over the redundant one. Requires: both exist.
Status copy_primary_table(OpenFile& file, const GrainDirectory& directory, std::uint64_t index);

}  // namespace vmdk
