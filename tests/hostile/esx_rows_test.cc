// Extents of ESX snapshots: COWD and SESparse.
#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "row.h"
#include "support/esx_builder.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kCapacity = 2 * kMiB;
constexpr std::uint64_t kTwoTables = 32 * kMiB;
constexpr const char* kDelta = "/vm/disk-delta.vmdk";
constexpr const char* kSeSparse = "/vm/disk-sesparse.vmdk";
constexpr std::uint64_t kSeGrain = 4 * kKiB;
// Said for writing before anything but the header is looked at.
constexpr const char* kOnlyRead = "SESparse extents are only read";

void poke(MemoryFileSystem& files, const char* path, std::uint64_t at, std::uint64_t value,
          std::size_t width) {
  std::array<std::byte, 8> bytes{};
  store_le64(bytes, 0, value);
  files.poke(path, at, std::span(bytes).first(width));
}

// ---- COWD

BuiltCowd put_cowd(MemoryFileSystem& files, CowdSpec spec) {
  spec.grains = {{.index = 0, .data = filled(512, 'a')}, {.index = 384, .data = filled(512, 'b')}};
  const auto built = build_cowd_disk(files, kImage, spec);
  EXPECT_OK(built);
  return built ? *built : BuiltCowd{};
}

Row cowd_header(std::string name, HeaderEdit edit, std::string cause) {
  return {.name = std::move(name),
          .make =
              [edit = std::move(edit)](MemoryFileSystem& files) {
                put_cowd(files, {.capacity = kCapacity, .edit_header = edit});
              },
          .object = kDelta,
          .cause = std::move(cause)};
}

using CowdEdit = std::function<void(MemoryFileSystem&, const BuiltCowd&)>;

std::function<void(MemoryFileSystem&)> cowd(CowdEdit edit, std::uint64_t capacity = kCapacity) {
  return [edit = std::move(edit), capacity](MemoryFileSystem& files) {
    edit(files, put_cowd(files, {.capacity = capacity}));
  };
}

CowdEdit cowd_entry(std::uint32_t value) {
  return [=](MemoryFileSystem& files, const BuiltCowd& built) {
    poke(files, kDelta, built.entry_at(0), value, 4);
  };
}

Row bad_cowd_entry(std::string name, std::uint32_t value, std::string cause) {
  return {.name = std::move(name),
          .make = cowd(cowd_entry(value)),
          .answer = Answer::kUnreadable,
          .object = kDelta,
          .cause = std::move(cause),
          .read_error = "the entry of grain 0 cannot be right"};
}

const std::vector<Row>& cowd_rows() {
  static const std::vector<Row> rows = {
      cowd_header("version_0", put32(4, 0), "version 0: 1 (ESX) and 3"),
      cowd_header("version_2", put32(4, 2), "version 2: 1 (ESX) and 3"),
      cowd_header("B41_capacity_0", put32(kCowdCapacityAt, 0), "numSectors 0: nothing to serve"),
      cowd_header("capacity_below_the_line", put32(kCowdCapacityAt, 4095),
                  "the header's capacity is 4095 sectors"),
      cowd_header("grain_0", put32(kCowdGrainSizeAt, 0), "grainSize 0: not from 1 to 2048"),
      cowd_header("grain_2049", put32(kCowdGrainSizeAt, 2049), "grainSize 2049: not from"),
      cowd_header("grain_highest", put32(kCowdGrainSizeAt, UINT32_MAX), "grainSize 4294967295:"),
      cowd_header("directory_in_the_header", put32(kCowdDirectoryAt, 3),
                  "gdOffset 3: inside the header"),
      cowd_header("directory_behind_the_end", put32(kCowdDirectoryAt, 1U << 24U),
                  "gdOffset 16777216: its 1 entries end behind the end"),
      cowd_header("entries_0", put32(kCowdDirectoryEntriesAt, 0), "numGDEntries 0:"),
      cowd_header("entries_highest", put32(kCowdDirectoryEntriesAt, UINT32_MAX),
                  "its 4294967295 entries end behind the end"),
      {.name = "table_in_the_header",
       .make = cowd([](MemoryFileSystem& files, const BuiltCowd& built) {
         poke(files, kDelta, built.directory_entry_at(0), 1, 4);
       }),
       .object = kDelta,
       .cause = "two metadata areas share sector 1"},
      {.name = "table_behind_the_end",
       .make = cowd([](MemoryFileSystem& files, const BuiltCowd& built) {
         poke(files, kDelta, built.directory_entry_at(0), 1U << 24U, 4);
       }),
       .object = kDelta,
       .cause = "grain table 0 (sector 16777216) lies behind the end"},
      {.name = "one_table_for_two",
       .make = cowd(
           [](MemoryFileSystem& files, const BuiltCowd& built) {
             poke(files, kDelta, built.directory_entry_at(1), built.tables.at(0) / kSectorSize, 4);
           },
           kTwoTables),
       .object = kDelta,
       .cause = "two metadata areas share sector"},
      bad_cowd_entry("entry_into_the_header", 2, "points into the metadata"),
      bad_cowd_entry("entry_behind_the_end", 1U << 24U, "points behind the end of the file"),
      {.name = "one_grain_for_two",
       .make = cowd([](MemoryFileSystem& files, const BuiltCowd& built) {
         cowd_entry(static_cast<std::uint32_t>(built.data.at(384) / kSectorSize))(files, built);
       }),
       .answer = Answer::kUnreadable,
       .object = kDelta,
       .cause = "is shared with another grain",
       .read_error = "the entry of grain 0 cannot be right",
       .good_at = 64 * kKiB},
      {.name = "unknown_flag",
       .make =
           [](MemoryFileSystem& files) {
             put_cowd(files, {.capacity = kCapacity, .edit_header = put32(kCowdFlagsAt, 0x103)});
           },
       .answer = Answer::kReadOnly,
       .object = kDelta,
       .cause = "flags 0x103 of its header are not known"},
      {.name = "free_sector_behind_the_end",
       .make =
           [](MemoryFileSystem& files) {
             put_cowd(files,
                      {.capacity = kCapacity, .edit_header = put32(kCowdFreeSectorAt, 1U << 24U)});
           },
       .answer = Answer::kOpened},
      {.name = "B41_table_not_there",
       .make = cowd([](MemoryFileSystem&, const BuiltCowd&) {}, kTwoTables),
       .answer = Answer::kOpened},
  };
  return rows;
}

// ---- SESparse

BuiltSeSparse put_sesparse(MemoryFileSystem& files, SeSparseSpec spec) {
  spec.grains = {{.index = 0, .data = filled(kSeGrain, 'a')},
                 {.index = 48, .data = filled(kSeGrain, 'b')}};
  const auto built = build_sesparse_disk(files, kImage, spec);
  EXPECT_OK(built);
  return built ? *built : BuiltSeSparse{};
}

using SeEdit = std::function<void(MemoryFileSystem&, const BuiltSeSparse&)>;

std::function<void(MemoryFileSystem&)> sesparse(SeEdit edit, SeSparseSpec spec = {}) {
  if (spec.capacity == 0)
    spec.capacity = kCapacity;
  return [edit = std::move(edit), spec](MemoryFileSystem& files) {
    const BuiltSeSparse built = put_sesparse(files, spec);
    if (edit)
      edit(files, built);
  };
}

Row se_header(std::string name, HeaderEdit edit, std::string cause) {
  return {.name = std::move(name),
          .make = sesparse({}, {.capacity = kCapacity, .edit_header = std::move(edit)}),
          .object = kSeSparse,
          .cause = std::move(cause)};
}

Row se_entry(std::string name, std::uint64_t value) {
  return {.name = std::move(name),
          .make = sesparse([=](MemoryFileSystem& files, const BuiltSeSparse& built) {
            poke(files, kSeSparse, built.entry_at(0), value, 8);
          }),
          .answer = Answer::kUnreadable,
          .object = kSeSparse,
          .cause = kOnlyRead,
          .read_error = "the entry of grain 0 cannot be right"};
}

Row se_directory(std::string name, std::uint64_t value, std::string cause) {
  return {.name = std::move(name),
          .make = sesparse([=](MemoryFileSystem& files, const BuiltSeSparse& built) {
            poke(files, kSeSparse, built.directory_entry_at(0), value, 8);
          }),
          .object = kSeSparse,
          .cause = std::move(cause),
          .write_cause = kOnlyRead};
}

constexpr std::size_t kRegionsAt = 80;

constexpr std::size_t region_at(std::size_t index) {
  return kRegionsAt + index * 16;
}

const std::vector<Row>& se_header_rows() {
  static const std::vector<Row> rows = {
      se_header("version_2_0", put64(8, 0x0000000200000000), "version 0x200000000: only 2.1"),
      se_header("flags", put64(40, 1), "flags 0x1: none is known"),
      se_header("reserved_field", put64(48, 5), "reserved field 0x5"),
      se_header("bytes_behind_the_fields", put64(208, 1), "bytes behind byte 208 are in use"),
      se_header("capacity_0", put64(16, 0), "capacity 0x0: nothing to serve"),
      se_header("capacity_2_to_54", put64(16, std::uint64_t{1} << 54U), "not below 2^54"),
      se_header("capacity_beyond_the_directory", put64(16, (std::uint64_t{1} << 54U) - 1),
                "grainDirectory"),
      se_header("grain_0", put64(24, 0), "grainSize 0x0: not a power of two"),
      se_header("grain_highest", put64(24, UINT64_MAX), "grainSize 0xffffffffffffffff"),
      se_header("table_of_65_sectors", put64(32, 65), "grainTableSize 0x41: only 64"),
      se_header("no_volatile_header", put64(region_at(0) + 8, 0), "volatileHeader 0x0"),
      se_header("region_at_2_to_63", put64(region_at(3), std::uint64_t{1} << 63U),
                "grainDirectory 0x8000000000000000: its offset"),
      se_header("region_of_2_to_63", put64(region_at(3) + 8, std::uint64_t{1} << 63U),
                "grainDirectory 0x8000000000000000: its size"),
      se_header("region_in_the_header", put64(region_at(3), 0), "it would begin inside the header"),
      se_header("regions_that_overlap", put64(region_at(3), 8), "overlaps volatileHeader"),
  };
  return rows;
}

const std::vector<Row>& se_rows() {
  static const std::vector<Row> rows = {
      se_directory("table_without_its_mark", 1, "is neither 0 nor the number of a table"),
      se_directory("table_of_another_mark", 0x2000000000000000, "is neither 0 nor the number"),
      se_directory("table_behind_the_last", 0x10000000FFFFFFFF, "lies behind the last table"),
      {.name = "B42_dirty_journal",
       .make = sesparse({}, {.capacity = kCapacity, .replay_journal = 1}),
       .object = kSeSparse,
       .cause = "its journal holds changes",
       .write_cause = kOnlyRead},
      {.name = "volatile_header_of_another_magic",
       .make = sesparse({}, {.capacity = kCapacity, .edit_volatile_header = put64(0, 1)}),
       .object = kSeSparse,
       .cause = "volatile magic 0x1",
       .write_cause = kOnlyRead},
      {.name = "volatile_header_with_more_in_it",
       .make = sesparse({}, {.capacity = kCapacity, .edit_volatile_header = put64(32, 1)}),
       .object = kSeSparse,
       .cause = "bytes behind byte 32 are in use",
       .write_cause = kOnlyRead},
      {.name = "cut_in_the_directory",
       .make = sesparse([](MemoryFileSystem& files, const BuiltSeSparse& built) {
         files.truncate(kSeSparse, built.directory + 8);
       }),
       .object = kSeSparse,
       .cause = "end behind the end of the file",
       .write_cause = kOnlyRead},
  };
  return rows;
}

const std::vector<Row>& se_entry_rows() {
  static const std::vector<Row> rows = {
      se_entry("B42_kind_4", 0x4000000000000000),
      se_entry("B42_kind_15", 0xF000000000000000),
      se_entry("B42_none_with_other_bits", 5),
      se_entry("grain_behind_the_last", 0x3FFFFFFFFFFFFFFF),
      se_entry("grain_behind_the_end", 0x3000000000100000),
  };
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Cowd, HostileRowTest, testing::ValuesIn(cowd_rows()), RowName());
INSTANTIATE_TEST_SUITE_P(SeSparseHeader, HostileRowTest, testing::ValuesIn(se_header_rows()),
                         RowName());
INSTANTIATE_TEST_SUITE_P(SeSparse, HostileRowTest, testing::ValuesIn(se_rows()), RowName());
INSTANTIATE_TEST_SUITE_P(SeSparseEntries, HostileRowTest, testing::ValuesIn(se_entry_rows()),
                         RowName());

}  // namespace
}  // namespace vmdk::test
