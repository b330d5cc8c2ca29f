// Whether an entry of a grain table is legal by itself.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "extent/grain_layout.h"

namespace vmdk {

// Immutable; any thread. The layout outlives it.
class GrainJudge {
 public:
  // Bytes: of the disk, and of the file.
  GrainJudge(const GrainLayout& layout, std::uint64_t extent_bytes, std::uint64_t file_size);

  // nullptr: legal; else what is wrong with it, for "its entry N ...". `entry`: what `raw` means.
  const char* fault_of(std::uint64_t grain, std::uint64_t raw, GrainEntry entry) const noexcept;

  // Tables outside the metadata area (some programs add them at the end of the file): their places
  // in the directory, ascending. They keep grains off.
  std::span<const std::uint32_t> tables_in_data_area() const noexcept {
    return tables_in_data_area_;
  }

  // The sectors of such a table: [first, second).
  std::pair<std::uint64_t, std::uint64_t> sectors_of(std::uint32_t place) const noexcept {
    const std::uint64_t begin = layout_.directory.offset_of(place).bytes();
    return {begin / kSectorSize, (begin + layout_.table_bytes()) / kSectorSize};
  }

 private:
  bool is_in_data_area(std::uint32_t place) const noexcept {
    return place != 0 && sectors_of(place).second * kSectorSize > layout_.data_begin;
  }

  bool overlaps_table(std::uint64_t begin, std::uint64_t end) const noexcept;
  const char* fault_of_bad(std::uint64_t raw) const noexcept;

  const GrainLayout& layout_;
  const std::uint64_t extent_bytes_;
  const std::uint64_t file_size_;
  std::vector<std::uint32_t> tables_in_data_area_;  // four bytes each: there may be millions
};

}  // namespace vmdk
