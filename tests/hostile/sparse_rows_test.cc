// Hosted sparse extents: header, directory, tables.
#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "row.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kCapacity = 2 * kMiB;
constexpr std::uint64_t kTwoTables = 33 * kMiB;

// Offsets of the header's fields, bytes.
constexpr std::size_t kVersionAt = 4;
constexpr std::size_t kFlagsAt = 8;
constexpr std::size_t kCapacityAt = 12;
constexpr std::size_t kGrainSizeAt = 20;
constexpr std::size_t kDescriptorAt = 28;
constexpr std::size_t kDescriptorSizeAt = 36;
constexpr std::size_t kEntriesAt = 44;
constexpr std::size_t kRgdAt = 48;
constexpr std::size_t kGdAt = 56;
constexpr std::size_t kOverheadAt = 64;
constexpr std::size_t kNewlineAt = 73;
constexpr std::size_t kAlgorithmAt = 77;

SparseSpec spec_of(std::uint64_t capacity = kCapacity) {
  SparseSpec spec;
  spec.capacity = capacity;
  for (const std::uint64_t index : {0U, 3U, 5U}) {
    GrainSpec grain;
    grain.index = index;
    grain.data = filled(kHostileGrain, 'a' + static_cast<unsigned>(index));
    spec.grains.push_back(grain);
  }
  return spec;
}

BuiltSparse put(MemoryFileSystem& files, const SparseSpec& spec) {
  const auto built = build_sparse(files, kImage, spec);
  EXPECT_OK(built);
  return built ? *built : BuiltSparse{};
}

// A sound image but for its header.
Row header(std::string name, HeaderEdit edit, std::string cause) {
  return {.name = std::move(name),
          .make =
              [edit = std::move(edit)](MemoryFileSystem& files) {
                SparseSpec spec = spec_of();
                spec.edit_encoded_header = edit;
                put(files, spec);
              },
          .cause = std::move(cause)};
}

const std::vector<Row>& header_rows() {
  static const std::vector<Row> rows = {
      header("magic", put32(0, 0x58444D4B), "neither a sparse header nor a descriptor"),
      header("B3_version_0", put32(kVersionAt, 0), "version 0: 1 to 3 are known"),
      header("B3_version_4", put32(kVersionAt, 4), "version 4: 1 to 3 are known"),
      header("B3_version_highest", put32(kVersionAt, UINT32_MAX), "version 4294967295:"),
      header("B4_flag_18", put32(kFlagsAt, 0x40003), "flags 0x40003: 0x40000 is not known"),
      header("B4_flag_31", put32(kFlagsAt, 0x80000003), "0x80000000 is not known"),
      header("B22_markers_without_compression", put32(kFlagsAt, 0x20003),
             "markers (bit 17) without compression (bit 16)"),
      header("B22_compression_without_markers",
             all(put32(kFlagsAt, 0x10003), put16(kAlgorithmAt, 1)),
             "compression (bit 16) without markers (bit 17)"),
      header("B22_compression_without_algorithm", put32(kFlagsAt, 0x30003),
             "compressAlgorithm 0: only 1 is known"),
      header("B22_algorithm_2", all(put32(kFlagsAt, 0x30003), put16(kAlgorithmAt, 2)),
             "compressAlgorithm 2: only 1 is known"),
      header("B22_algorithm_without_compression", put16(kAlgorithmAt, 1),
             "compressAlgorithm 1: set although the flags say uncompressed"),
      header("B17_newline_bytes", put32(kNewlineAt, 0x0A0A200A), "damaged by a text-mode transfer"),
      header("B5_grain_0", put64(kGrainSizeAt, 0), "grainSize 0: not a power of two"),
      header("B5_grain_3", put64(kGrainSizeAt, 3), "grainSize 3:"),
      header("B5_grain_4", put64(kGrainSizeAt, 4), "grainSize 4:"),
      header("B5_grain_129", put64(kGrainSizeAt, 129), "grainSize 129:"),
      header("B5_grain_4096", put64(kGrainSizeAt, 4096), "grainSize 4096:"),
      header("B5_grain_2_to_21", put64(kGrainSizeAt, 1U << 21U), "grainSize 2097152:"),
      header("B5_grain_2_to_22", put64(kGrainSizeAt, 1U << 22U), "grainSize 4194304:"),
      header("B5_grain_2_to_63", put64(kGrainSizeAt, std::uint64_t{1} << 63U),
             "grainSize 9223372036854775808:"),
      header("B6_entries_0", put32(kEntriesAt, 0), "numGTEsPerGT 0: not 512"),
      header("B6_entries_1", put32(kEntriesAt, 1), "numGTEsPerGT 1: not 512"),
      header("B6_entries_511", put32(kEntriesAt, 511), "numGTEsPerGT 511:"),
      header("B6_entries_513", put32(kEntriesAt, 513), "numGTEsPerGT 513:"),
      header("B6_entries_1024", put32(kEntriesAt, 1024), "numGTEsPerGT 1024:"),
      header("B6_entries_2_to_31", put32(kEntriesAt, 1U << 31U), "numGTEsPerGT 2147483648:"),
      header("B7_capacity_0_without_descriptor",
             all(put64(kCapacityAt, 0), put64(kDescriptorAt, 0)), "capacity 0: nothing to serve"),
      header("B7_capacity_0_under_a_line", put64(kCapacityAt, 0),
             "names the descriptor itself as an extent"),
      header("B7_capacity_2_to_54", put64(kCapacityAt, std::uint64_t{1} << 54U),
             "capacity 18014398509481984: not below 2^54"),
      header("B7_capacity_2_to_63", put64(kCapacityAt, std::uint64_t{1} << 63U),
             "capacity 9223372036854775808:"),
      header("B7_capacity_times_512_overflows", put64(kCapacityAt, (std::uint64_t{1} << 55U) + 1),
             "capacity 36028797018963969:"),
      header("B8_capacity_below_the_line", put64(kCapacityAt, kCapacity / kSectorSize - 1),
             "the header's capacity is 4095 sectors, line 8"),
      header("B9_afl9",
             all(put64(kCapacityAt, 0x1efffffc1b000001), put32(kEntriesAt, 506),
                 put64(kDescriptorAt, 0xf000001)),
             "numGTEsPerGT 506: not 512"),
      header("B9_afl9_with_sound_tables",
             all(put64(kCapacityAt, 0x1efffffc1b000001), put64(kDescriptorAt, 0xf000001)),
             "capacity 2233785398448881665: not below 2^54"),
      header("directory_above_64_MiB",
             all(put64(kCapacityAt, (std::uint64_t{1} << 54U) - 1),
                 put64(kOverheadAt, std::uint64_t{1} << 40U)),
             "needs a grain directory of"),
      header("directory_longer_than_the_file",
             all(put64(kCapacityAt, std::uint64_t{1} << 32U), put64(kOverheadAt, 1U << 21U)),
             "sectors end behind the end of the file"),
      header("B10_gd_0", put64(kGdAt, 0), "gdOffset 0: no grain directory"),
      header("B10_gd_behind_the_end", all(put64(kGdAt, 1U << 20U), put64(kOverheadAt, 1U << 21U)),
             "gdOffset 1048576: its 1 sectors"),
      header("B10_gd_2_to_63", put64(kGdAt, std::uint64_t{1} << 63U), "not below 2^54"),
      header("B10_gd_in_the_descriptor", put64(kGdAt, 5), "overlap descriptorOffset 1"),
      header("gd_at_end_of_plain_grains", put64(kGdAt, kDirectoryAtEnd),
             "at the end of the file, but the grains are uncompressed"),
      header("rgd_0", put64(kRgdAt, 0), "rgdOffset 0: redundant tables"),
      header("rgd_is_gd", put64(kRgdAt, 26),
             "rgdOffset 26: the redundant directory is the primary"),
      header("rgd_behind_the_end", all(put64(kRgdAt, 1U << 20U), put64(kOverheadAt, 1U << 21U)),
             "rgdOffset 1048576: its 1 sectors"),
      header("rgd_in_the_descriptor", put64(kRgdAt, 20), "rgdOffset 20: its 1 sectors overlap"),
      header("overhead_behind_the_end", put64(kOverheadAt, 1U << 20U),
             "overHead 1048576: behind the end"),
      header("overhead_0", put64(kOverheadAt, 0), "overHead 0: grains would begin before"),
      header("overhead_in_the_directory", put64(kOverheadAt, 26),
             "overHead 26: grains would begin"),
      header("descriptor_over_the_directory", put64(kDescriptorSizeAt, 26),
             "overlap descriptorOffset 1"),
      header("descriptor_behind_the_end", put64(kDescriptorAt, 1U << 20U),
             "descriptorOffset 1048576"),
      header("descriptor_2_to_63", put64(kDescriptorAt, std::uint64_t{1} << 63U),
             "descriptorOffset 9223372036854775808: not below"),
      header("descriptor_without_size", put64(kDescriptorSizeAt, 0), "descriptorSize 0:"),
      header("descriptor_of_20481_sectors", put64(kDescriptorSizeAt, 20481),
             "descriptorSize 20481: more than 20480"),
      header("descriptor_at_0_with_a_size", put64(kDescriptorAt, 0), "open the disk's descriptor"),
  };
  return rows;
}

// ---- Directory and tables

using TableEdit = std::function<void(MemoryFileSystem&, const BuiltSparse&)>;

void poke32(MemoryFileSystem& files, std::uint64_t at, std::uint64_t value) {
  std::array<std::byte, 4> bytes{};
  store_le32(bytes, 0, static_cast<std::uint32_t>(value));
  files.poke(kImage, at, bytes);
}

std::function<void(MemoryFileSystem&)> edited(TableEdit edit, std::uint64_t capacity = kCapacity,
                                              bool unclean = false) {
  return [edit = std::move(edit), capacity, unclean](MemoryFileSystem& files) {
    SparseSpec spec = spec_of(capacity);
    spec.unclean = unclean;
    const BuiltSparse built = put(files, spec);
    edit(files, built);
  };
}

// Entry `index` of the directory, in both copies.
TableEdit directory_entry(std::uint64_t index, std::uint64_t value) {
  return [=](MemoryFileSystem& files, const BuiltSparse& built) {
    poke32(files, built.directory_entry_at(index), value);
    poke32(files, built.directory_entry_at(index, true), value);
  };
}

// Grain 0's entry, in both copies.
TableEdit entry(std::uint64_t value) {
  return [=](MemoryFileSystem& files, const BuiltSparse& built) {
    poke32(files, built.entry_at(0), value);
    poke32(files, built.entry_at(0, true), value);
  };
}

Row directory(std::string name, TableEdit edit, std::string cause) {
  return {.name = std::move(name),
          .make = edited(std::move(edit), kTwoTables),
          .cause = std::move(cause)};
}

// Grain 0 is where grain 3 is, or `sectors` beside it: what it overlaps cannot be read, the rest
// can.
Row overlapping(std::string name, int sectors, std::string cause) {
  return {.name = std::move(name),
          .make = edited([=](MemoryFileSystem& files, const BuiltSparse& built) {
            entry(built.data.at(3) / kSectorSize + static_cast<std::uint64_t>(sectors))(files,
                                                                                        built);
          }),
          .answer = Answer::kUnreadable,
          .cause = std::move(cause),
          .read_error = "the entry of grain 0 cannot be right",
          .good_at = 8 * kHostileGrain};
}

// Grain 0 cannot be read, grain 3 can.
Row bad_entry(std::string name, TableEdit edit, std::string cause) {
  return {.name = std::move(name),
          .make = edited(std::move(edit)),
          .answer = Answer::kUnreadable,
          .cause = std::move(cause),
          .read_error = "the entry of grain 0 cannot be right"};
}

const std::vector<Row>& table_rows() {
  static const std::vector<Row> rows = {
      directory("B11_table_behind_the_end", directory_entry(1, 1U << 24U),
                "grain table 1 (sector 16777216) lies behind the end of the file"),
      directory("B11_table_in_the_header", directory_entry(1, 1), "metadata areas share sector 1"),
      directory("B11_table_in_the_descriptor", directory_entry(1, 10), "share sector 10"),
      directory(
          "B11_one_table_for_two",
          [](MemoryFileSystem& files, const BuiltSparse& built) {
            poke32(files, built.directory_entry_at(1), built.table_at(0) / kSectorSize);
          },
          "two metadata areas share sector"),
      directory(
          "redundant_table_is_the_primary",
          [](MemoryFileSystem& files, const BuiltSparse& built) {
            poke32(files, built.directory_entry_at(0, true), built.table_at(0) / kSectorSize);
          },
          "two metadata areas share sector"),
      directory(
          "B11_table_in_the_directory",
          [](MemoryFileSystem& files, const BuiltSparse& built) {
            poke32(files, built.directory_entry_at(0), built.layout.header.gd_offset.count());
          },
          "two metadata areas share sector"),
      {.name = "missing_table",
       .make = edited(directory_entry(1, 0), kTwoTables),
       .answer = Answer::kReadOnly,
       .cause = "some of its grain tables are missing"},
      bad_entry("B12_entry_into_the_descriptor", entry(2), "its entry 2 points into the metadata"),
      bad_entry("B12_entry_into_the_directory", entry(21), "its entry 21 points into the metadata"),
      bad_entry("B12_entry_into_a_table", entry(28), "its entry 28 points into the metadata"),
      bad_entry("B14_entry_behind_the_end", entry(1U << 24U),
                "its entry 16777216 points behind the end of the file"),
      bad_entry("B14_entry_highest", entry(UINT32_MAX), "points behind the end of the file"),
      bad_entry("entry_1_without_zeroed_grains", entry(1),
                "its entry 1 is 1, but the header does not allow zeroed grains"),
      overlapping("B13_one_grain_for_two", 0, "is shared with another grain"),
      overlapping("grain_that_begins_in_another", 8, "is shared with another grain"),
      overlapping("grain_that_reaches_into_another", -8, "reaches into the next one"),
      {.name = "B15_grain_cut_by_the_end",
       .make = edited([](MemoryFileSystem& files, const BuiltSparse& built) {
         files.truncate(kImage, built.data.at(5) + 1000);
       }),
       .answer = Answer::kUnreadable,
       .cause = "is cut off by the end of the file",
       .bad_at = 6 * kHostileGrain - 512},
      {.name = "B16_copies_unequal",
       .make = edited([](MemoryFileSystem& files, const BuiltSparse& built) {
         poke32(files, built.entry_at(0, true), 0);
       }),
       .answer = Answer::kReadOnly,
       .cause = "differ in 1 entries although it was closed cleanly"},
      {.name = "B16_copies_unequal_one_damaged",
       .make = edited([](MemoryFileSystem& files,
                         const BuiltSparse& built) { poke32(files, built.entry_at(0, true), 7); },
                      kCapacity, true),
       .answer = Answer::kReadOnly,
       .cause = "differ, and the redundant one is damaged"},
      {.name = "B16_interrupted_commit",
       .make = edited([](MemoryFileSystem& files,
                         const BuiltSparse& built) { poke32(files, built.entry_at(0, true), 0); },
                      kCapacity, true),
       .answer = Answer::kOpened},
      {.name = "B18_unclean",
       .make = edited([](MemoryFileSystem&, const BuiltSparse&) {}, kCapacity, true),
       .answer = Answer::kOpened},
      {.name = "entry_behind_the_capacity",
       .make = edited([](MemoryFileSystem& files, const BuiltSparse& built) {
         poke32(files, built.entry_at(kCapacity / kHostileGrain), UINT32_MAX);
         poke32(files, built.entry_at(kCapacity / kHostileGrain, true), UINT32_MAX);
       }),
       .answer = Answer::kOpened},
      {.name = "file_cut_in_its_tables",
       .make = edited([](MemoryFileSystem& files, const BuiltSparse& built) {
         files.truncate(kImage, built.table_at(0) + 100);
       }),
       .cause = "behind the end of the file"},
      {.name = "header_version_3_of_plain_grains",
       .make =
           [](MemoryFileSystem& files) {
             SparseSpec spec = spec_of();
             spec.edit_encoded_header = put32(kVersionAt, 3);
             put(files, spec);
           },
       .answer = Answer::kReadOnly,
       .cause = "header version 3 is read-only"},
  };
  return rows;
}

INSTANTIATE_TEST_SUITE_P(SparseHeader, HostileRowTest, testing::ValuesIn(header_rows()), RowName());
INSTANTIATE_TEST_SUITE_P(SparseTables, HostileRowTest, testing::ValuesIn(table_rows()), RowName());

}  // namespace
}  // namespace vmdk::test
