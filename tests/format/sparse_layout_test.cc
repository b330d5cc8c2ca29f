#include <cstdint>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "format/sparse_header.h"

namespace vmdk {
namespace {

constexpr Sectors kGrain{128};

struct Row {
  std::uint64_t capacity_mib, descriptor, tables, directory, rgd, gd, overhead;
};

class LayoutTableTest : public testing::TestWithParam<Row> {};

// Numbers of files that other programs made.
TEST_P(LayoutTableTest, IsTheOneOfOtherPrograms) {
  const auto& row = GetParam();
  const auto layout =
      lay_out_sparse_extent(Sectors(row.capacity_mib * 2048), kGrain, row.descriptor, false);
  ASSERT_TRUE(layout) << layout.error().message();
  const auto& header = layout->header;
  EXPECT_EQ(header.table_count(), row.tables);
  EXPECT_EQ(header.directory_sectors(), row.directory);
  EXPECT_EQ(header.rgd_offset, Sectors(row.rgd));
  EXPECT_EQ(header.gd_offset, Sectors(row.gd));
  EXPECT_EQ(header.overhead, Sectors(row.overhead));
  EXPECT_EQ(header.descriptor_offset, Sectors(row.descriptor == 0 ? 0 : 1));
  EXPECT_EQ(header.descriptor_size, Sectors(row.descriptor));
  EXPECT_EQ(layout->file_size, row.overhead * 512);
  EXPECT_EQ(layout->first_redundant_table, row.rgd + row.directory);
  EXPECT_EQ(layout->first_table, row.gd + row.directory);
  EXPECT_EQ(header.version, 1U);
  EXPECT_EQ(header.flags, 3U);
}

INSTANTIATE_TEST_SUITE_P(
    Known, LayoutTableTest,
    testing::Values(Row{64, 20, 2, 1, 21, 30, 128}, Row{100, 20, 4, 1, 21, 38, 128},
                    Row{1024, 20, 32, 1, 21, 150, 384}, Row{2047, 0, 64, 1, 1, 258, 640},
                    Row{2048, 20, 64, 1, 21, 278, 640}, Row{10240, 20, 320, 3, 21, 1304, 2688}));

// What every layout must have, for all grain sizes.
TEST(SparseLayoutTest, KeepsAreasApartForEveryGrainSize) {
  for (std::uint64_t grain = 8; grain <= 2048; grain *= 2) {
    for (const std::uint64_t descriptor : {0U, 1U, 20U, 20480U}) {
      for (const std::uint64_t capacity :
           {std::uint64_t{1}, grain - 1, grain, grain + 1, 512 * grain, 512 * grain + 1,
            128 * 512 * grain, 128 * 512 * grain + 1, std::uint64_t{8388608}}) {
        SCOPED_TRACE(testing::Message() << grain << " " << descriptor << " " << capacity);
        const auto layout =
            lay_out_sparse_extent(Sectors(capacity), Sectors(grain), descriptor, false);
        ASSERT_TRUE(layout) << layout.error().message();
        const auto& header = layout->header;
        EXPECT_EQ(header.grain_size, Sectors(grain));
        EXPECT_EQ(header.capacity, Sectors(capacity));
        EXPECT_EQ(header.rgd_offset.count(), 1 + descriptor);
        EXPECT_EQ(header.gd_offset.count(),
                  layout->first_redundant_table + 4 * header.table_count());
        EXPECT_EQ(header.overhead.count() % grain, 0U);
        EXPECT_GE(header.overhead.count(), layout->first_table + 4 * header.table_count());
        EXPECT_LT(header.overhead.count(), layout->first_table + 4 * header.table_count() + grain);
        EXPECT_TRUE(validate_against_file(header, layout->file_size));
        EXPECT_FALSE(validate_against_file(header, layout->file_size - 1));
        const auto decoded = decode_sparse_header(encode_sparse_header(header));
        EXPECT_TRUE(decoded) << decoded.error().message();
      }
    }
  }
}

TEST(SparseLayoutTest, MarksZeroedGrains) {
  const auto layout = lay_out_sparse_extent(Sectors(2048), kGrain, 20, true);
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->header.version, 2U);
  EXPECT_EQ(layout->header.flags, 7U);
  EXPECT_TRUE(layout->header.has_zeroed_grains());
}

void expect_refused(const Result<SparseLayout>& layout, std::string_view message) {
  ASSERT_FALSE(layout);
  EXPECT_EQ(layout.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_NE(layout.error().message().find(message), std::string::npos) << layout.error().message();
}

TEST(SparseLayoutTest, RefusesWhatEntriesOf32BitsCannotReach) {
  // 2 TiB of grains fit the entries by themselves, but not behind their tables.
  const std::uint64_t two_tib = std::uint64_t{1} << 32U;
  expect_refused(lay_out_sparse_extent(Sectors(two_tib), kGrain, 20, false),
                 "one sparse file cannot hold 4294967296 sectors: its last grain would begin at "
                 "sector 4295492608, past 2^32; use twoGbMaxExtentSparse");
  expect_refused(lay_out_sparse_extent(Sectors((std::uint64_t{1} << 54U) - 1), kGrain, 20, false),
                 "twoGbMaxExtentSparse");

  // 65528 tables: 512 sectors of directory, twice; the last grain begins 128 sectors before 2^32.
  const std::uint64_t overhead = 525312;
  const auto largest = two_tib - overhead;
  const auto layout = lay_out_sparse_extent(Sectors(largest), kGrain, 20, false);
  ASSERT_TRUE(layout) << layout.error().message();
  EXPECT_EQ(layout->header.overhead, Sectors(overhead));
  expect_refused(lay_out_sparse_extent(Sectors(largest + 1), kGrain, 20, false),
                 "would begin at sector 4294967296");
}

TEST(SparseLayoutTest, RefusesImpossibleRequests) {
  for (const std::uint64_t grain : {0U, 1U, 4U, 9U, 100U, 4096U}) {
    expect_refused(lay_out_sparse_extent(Sectors(2048), Sectors(grain), 20, false),
                   "grain size of " + std::to_string(grain) + " sectors");
  }
  expect_refused(lay_out_sparse_extent(Sectors(0), kGrain, 20, false), "extent of 0 sectors");
  expect_refused(lay_out_sparse_extent(Sectors(UINT64_MAX), kGrain, 20, false), "extent of 184467");
  expect_refused(lay_out_sparse_extent(Sectors(2048), kGrain, 20481, false),
                 "descriptor of 20481 sectors");
}

}  // namespace
}  // namespace vmdk
