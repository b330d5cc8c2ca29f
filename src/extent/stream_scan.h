// One pass over all of a compressed extent: is every grain there, and can it be inflated?
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/progress.h>
#include <vmdk/result.h>

#include "extent/grain_directory.h"
#include "format/sparse_header.h"

namespace vmdk {

struct StreamScan {
  // Entries that cannot be right, records that are not what their entries say, tables whose copies
  // differ, and records that no table names.
  std::uint64_t damaged = 0;
  std::vector<std::string> findings;  // the first of them in words, up to a limit

  std::uint64_t data_grains = 0;
  std::uint64_t zero_grains = 0;
};

// Reads the tables, then every record in the order of the file. `header` is the one that counts,
// and judged. Memory: 16 bytes a grain that the tables name, at most a 32nd of the
// file's size. An error only when reading fails.
Result<StreamScan> scan_stream(const File& file, const SparseHeader& header,
                               const GrainDirectory& directory, std::uint64_t extent_bytes,
                               const Progress& progress);

}  // namespace vmdk
