// One pass over all grain tables of an uncompressed extent: are they sound, and what space is in
// use?
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/progress.h>
#include <vmdk/result.h>

#include "extent/grain_layout.h"

namespace vmdk {

// A stretch of the file that no grain uses; grain-aligned, bytes.
struct UnusedRange {
  std::uint64_t begin = 0;
  std::uint64_t length = 0;
};

struct TableScan {
  // Entries that cannot be right, in the primary tables: into metadata, behind the end of the
  // file, 1 without zeroed grains, or a grain that another entry has too.
  std::uint64_t damaged = 0;
  // Entries in which the two copies differ, and of those the redundant ones that are not legal by
  // themselves.
  std::uint64_t unequal = 0;
  std::uint64_t redundant_damaged = 0;
  // The first of them in words; each kind is kept up to a limit.
  std::vector<std::string> findings;
  std::vector<std::string> copy_findings;

  std::uint64_t data_grains = 0;
  std::uint64_t zero_grains = 0;
  std::uint64_t highest_end = 0;    // bytes: end of the last grain in use, at least of the metadata
  std::uint64_t unused_bytes = 0;   // between the metadata and the end of the file
  std::vector<UnusedRange> unused;  // the first of them, up to a limit
  std::vector<std::uint64_t> empty_tables;  // there, but both copies hold nothing
  std::vector<std::uint64_t> unequal_tables;

  // Whether the primary tables can be trusted with writes.
  bool sound() const noexcept { return damaged == 0; }
};

// Whose grains count as used besides those of the primary tables.
enum class Namers : std::uint8_t {
  // Nobody's: what the redundant tables alone name was being written when a commit was cut short.
  kPrimary,
  // Those that legal entries of the redundant tables name.
  kBoth,
};

// Reads both copies of every table once, in large pieces. Memory: one bit a grain slot of the file
// near grains in use, and four bytes for each grain that is not grain-aligned, or that only a
// redundant table has; kUnsupported when that grows beyond a bound. Else an error only when reading
// fails. `extent_bytes`: of the disk.
Result<TableScan> scan_tables(const File& file, const GrainLayout& layout,
                              std::uint64_t extent_bytes, const Progress& progress,
                              Namers namers = Namers::kPrimary);

}  // namespace vmdk
