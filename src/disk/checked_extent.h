// An uncompressed extent with grains, as the check found it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <vmdk/units.h>

#include "extent/grain_layout.h"
#include "extent/open_file.h"
#include "extent/table_scan.h"
#include "format/sparse_header.h"

namespace vmdk {

struct CheckedExtent {
  OpenFile* file = nullptr;
  GrainLayout layout;
  std::uint64_t bytes = 0;  // of the disk
  TableScan scan;           // of the tables that `layout` has as the primary ones
  bool unclean = false;
  std::uint64_t mark_at = kUncleanMarkOffset;  // byte of the file
  std::size_t mark_bytes = 1;
  bool tables_on_demand = false;
  std::optional<std::uint32_t> free_sector;  // COWD
  std::uint64_t file_size = 0;               // bytes

  const std::string& name() const noexcept { return file->name(); }

  bool lacks_tables() const noexcept {
    return !tables_on_demand && layout.directory.has_missing_tables();
  }

  HalfNamed half_named() const noexcept { return layout.directory.half_named(layout.data_begin); }

  // The last grain, which the end of the disk may cut, need not be whole in the file.
  bool is_free_sector_low() const noexcept {
    return *free_sector * kSectorSize < std::min(scan.highest_end, file_size);
  }

  bool is_free_sector_high() const noexcept {
    return *free_sector * kSectorSize > std::max(scan.highest_end, file_size);
  }

  // What differs between the copies is what a commit left that was cut short.
  bool is_interrupted() const noexcept {
    return unclean && scan.sound() && scan.redundant_damaged == 0 &&
           half_named() != HalfNamed::kOther;
  }

  // Damage that is in its tables.
  std::uint64_t damage() const noexcept {
    return scan.damaged + (is_interrupted() ? 0 : scan.unequal);
  }
};

}  // namespace vmdk
