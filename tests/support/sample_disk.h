// Small disks of every kind that is written, with data in the places where trouble is looked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "support/esx_builder.h"
#include "support/image_builder.h"
#include "support/memory_file_system.h"
#include "support/reference_disk.h"

namespace vmdk::test {

enum class SampleKind {
  kSparse,            // one extent, two tables, two copies of each
  kWithoutRedundant,  // the same with one copy
  kZeroedGrains,      // header version 2; one grain is stated to be zeros
  kSplit,             // two extents in files of their own
  kChild,             // over a parent with grains of another size
  kChildZeroedGrains,
  kCowd,                          // COWD with sectors for grains, and no second table yet
  kCowdChild,                     // a delta without a table, over a parent
  kFlat,                          // two extents in files of their own
  kMissingTable,                  // as kSparse, without its second table: opened by force
  kMissingTableWithoutRedundant,  // the same with one directory
};

// Those with grains.
inline constexpr SampleKind kAllSampleKinds[] = {
    SampleKind::kSparse,       SampleKind::kWithoutRedundant,
    SampleKind::kZeroedGrains, SampleKind::kSplit,
    SampleKind::kChild,        SampleKind::kChildZeroedGrains,
    SampleKind::kCowd,         SampleKind::kCowdChild};

// What is written only when missing tables may be added; not among the others.
inline constexpr SampleKind kForcedSampleKinds[] = {SampleKind::kMissingTable,
                                                    SampleKind::kMissingTableWithoutRedundant};

// Those with grains, and the flat one.
std::vector<SampleKind> writable_sample_kinds();

std::string to_string(SampleKind kind);

inline constexpr std::uint64_t kSampleGrain = 4 * kKiB;

// The top image is /vm/disk.vmdk. Grains 1, 2 and 5 have data, the grain before the border as well,
// the one behind it none, the last, which the end of the disk cuts, has some; COWD disks have less.
// All offsets in bytes.
struct SampleDisk {
  struct Extent {
    std::string file;
    std::uint64_t begin = 0;  // of the disk
    BuiltSparse built;
    std::optional<BuiltCowd> cowd = std::nullopt;  // in place of `built`
    bool flat = false;                             // has neither
  };

  SampleKind kind = SampleKind::kSparse;
  std::filesystem::path image;
  std::vector<Extent> extents;       // of the top image
  std::vector<std::string> parents;  // files that nobody may change
  std::uint64_t border = 0;          // of the disk: a second table, or a second extent, begins here
  bool can_discard = true;
  bool lacks_tables = false;  // opened for writing only with OpenOptions::force_tables
  ReferenceDisk content{0};

  std::uint64_t capacity() const noexcept { return content.capacity(); }
};

// Makes the files. Throws std::runtime_error when the image builder refuses, which fails the test.
SampleDisk build_sample_disk(MemoryFileSystem& file_system, SampleKind kind);

// Bytes without a zero that tell what they are and where: "write 3 0000040 ", 16 a piece.
std::vector<std::byte> tagged(char tag, std::uint32_t number, std::size_t length);

}  // namespace vmdk::test
