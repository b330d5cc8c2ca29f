// Where the grain tables of an extent are: its grain directories, read and judged.
#pragma once

#include <cstdint>
#include <vector>

#include <vmdk/io.h>
#include <vmdk/result.h>
#include <vmdk/units.h>

#include "extent/open_file.h"
#include "format/cowd_header.h"
#include "format/sesparse_header.h"
#include "format/sparse_header.h"

namespace vmdk {

// Tables that one of two directories names and the other does not.
enum class HalfNamed : std::uint8_t {
  kNone,
  // What a commit leaves that was cut short: the redundant directory, which goes first, names
  // tables that were being added.
  kByCommit,
  kOther,
};

struct GrainDirectory {
  // The place of each table, in units of `unit`; 0: there is none.
  std::vector<std::uint32_t> primary;
  std::vector<std::uint32_t> redundant;  // the same for the second copies; empty without them
  // Tables that the file's redundant directory names and that count as missing all the same:
  // see drop_half_named(). Ascending.
  std::vector<std::uint64_t> dropped;
  // Bytes of the file: place number `first` is at `base`, the others follow.
  std::uint64_t base = 0;
  std::uint64_t unit = kSectorSize;
  std::uint32_t first = 0;
  // Where the directories themselves begin.
  FileOffset primary_at;
  FileOffset redundant_at;

  std::uint64_t table_count() const noexcept { return primary.size(); }

  bool has_redundant() const noexcept { return !redundant.empty(); }

  // A table that is missing in one of the copies.
  bool has_missing_tables() const noexcept;

  // `data_begin`: bytes. Tables are added behind it only.
  HalfNamed half_named(std::uint64_t data_begin) const noexcept;
  // Takes those tables out of `redundant`. The file still names them: drop_names() has to be
  // durable before their space is used again. Requires: half_named() says kByCommit.
  void drop_half_named();

  // Requires: the place is not 0.
  FileOffset offset_of(std::uint32_t place) const noexcept {
    return FileOffset(base + (place - first) * unit);
  }

  FileOffset primary_table(std::uint64_t index) const noexcept { return offset_of(primary[index]); }

  FileOffset redundant_table(std::uint64_t index) const noexcept {
    return offset_of(redundant[index]);
  }
};

// Reads the directories. kCorrupt when a table lies outside the file (of `file_size` bytes), in
// another metadata area, or where another table is. Requires: validate_against_file() passed, which
// bounds the memory by the length of the file.
Result<GrainDirectory> read_grain_directory(const File& file, const SparseHeader& header,
                                            std::uint64_t file_size);
Result<GrainDirectory> read_grain_directory(const File& file, const CowdHeader& header,
                                            std::uint64_t file_size);
Result<GrainDirectory> read_grain_directory(const File& file, const SeSparseHeader& header,
                                            std::uint64_t file_size);

// An entry of an SESparse directory as a place: one more than the number of its table, so that 0 is
// "none". kCorrupt when it cannot be right in a file of `file_size` bytes.
Result<std::uint32_t> sesparse_place(const File& file, const SeSparseHeader& header,
                                     std::uint64_t index, std::uint64_t entry,
                                     std::uint64_t file_size);

// Writes the primary copies of these hosted tables over the redundant ones. Requires: both exist.
Status copy_primary_tables(OpenFile& file, const GrainDirectory& directory,
                           const std::vector<std::uint64_t>& tables);
// Takes the names of the tables in `directory.dropped` out of the redundant directory of the file.
Status drop_names(OpenFile& file, const GrainDirectory& directory);

}  // namespace vmdk
