// The grain directories of a damaged extent: what of them can be right.
#pragma once

#include <cstdint>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/result.h>

#include "extent/grain_directory.h"

namespace vmdk {

struct DamagedDirectory {
  GrainDirectory directory;  // the place of a table that is lost is 0
  // One a table: its entry names a place where no table can be, or the entry cannot be read.
  std::vector<bool> primary_lost;
  std::vector<bool> redundant_lost;
};

// Where read_grain_directory() refuses, this takes what can be right: a table is lost when it would
// lie outside the file (of `file_size` bytes), in other metadata, or where another table is; of two
// hosted tables in one place the one stays that is where its directory has it by convention.
// kCorrupt when no directory lies wholly in the file, which also bounds the memory.
Result<DamagedDirectory> read_damaged_directory(const File& file, const SparseHeader& header,
                                                std::uint64_t file_size);
Result<DamagedDirectory> read_damaged_directory(const File& file, const CowdHeader& header,
                                                std::uint64_t file_size);
Result<DamagedDirectory> read_damaged_directory(const File& file, const SeSparseHeader& header,
                                                std::uint64_t file_size);

}  // namespace vmdk
