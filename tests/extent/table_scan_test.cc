#include "extent/table_scan.h"

#include <gtest/gtest.h>

#include "sparse_fixture.h"

namespace vmdk::test {
namespace {

class TableScanTest : public SparseFixture {
 protected:
  TableScan scanned() {
    auto result = scan();
    EXPECT_OK(result);
    return result ? *result : TableScan{};
  }

  // One fault, whose text has `words`.
  void expect_fault(const std::string& words) {
    const TableScan found = scanned();
    EXPECT_FALSE(found.sound());
    EXPECT_EQ(found.damaged, 1U);
    ASSERT_EQ(found.findings.size(), 1U);
    EXPECT_NE(found.findings[0].find(words), std::string::npos) << found.findings[0];
  }
};

TEST_F(TableScanTest, ASoundExtent) {
  SparseSpec spec =
      small_spec(6 * kMiB + kSectorSize, {grain_of(0, 1), grain_of(700, 2), entry_of(3, 1)});
  spec.zeroed_grains = true;
  make(spec);
  const TableScan found = scanned();
  EXPECT_TRUE(found.sound());
  EXPECT_EQ(found.unequal, 0U);
  EXPECT_EQ(found.data_grains, 2U);
  EXPECT_EQ(found.zero_grains, 1U);
  EXPECT_EQ(found.highest_end, built_.file_size);
  EXPECT_EQ(found.unused_bytes, 0U);
  EXPECT_TRUE(found.unused.empty());
  EXPECT_EQ(found.empty_tables, (std::vector<std::uint64_t>{2, 3}));
}

TEST_F(TableScanTest, AnEmptyExtent) {
  make(small_spec(2 * kMiB));
  const TableScan found = scanned();
  EXPECT_TRUE(found.sound());
  EXPECT_EQ(found.highest_end, header_.overhead.count() * kSectorSize);
  EXPECT_EQ(found.empty_tables, std::vector<std::uint64_t>{0});
}

TEST_F(TableScanTest, EntriesIntoTheMetadata) {
  make(small_spec(2 * kMiB, {entry_of(9, 2)}));
  expect_fault("grain 9 (disk sector 72 of the extent): its entry 2 points into the metadata");
}

TEST_F(TableScanTest, OneWithoutZeroedGrains) {
  make(small_spec(2 * kMiB, {entry_of(9, 1)}));
  expect_fault("is 1, but the header does not allow zeroed grains");
}

TEST_F(TableScanTest, EntriesBehindTheEndOfTheFile) {
  make(small_spec(2 * kMiB, {entry_of(9, 0xFFFFFFFF)}));
  expect_fault("points behind the end of the file");
  reopen();
  set_entry(9, static_cast<std::uint32_t>(built_.file_size / kSectorSize), TableCopies::kBoth);
  expect_fault("points behind the end of the file");
}

TEST_F(TableScanTest, AGrainThatTheEndOfTheFileCuts) {
  GrainSpec grain = grain_of(9, 1);
  grain.data.resize(4 * kKiB - 1);
  grain.pad = false;
  make(small_spec(2 * kMiB, {grain}));
  expect_fault("is cut off by the end of the file");
}

// The last grain needs only what the extent has of it.
TEST_F(TableScanTest, TheLastGrainMayBeCut) {
  GrainSpec grain = grain_of(512, 1);
  grain.data.resize(3 * kSectorSize);
  grain.pad = false;
  make(small_spec(2 * kMiB + 3 * kSectorSize, {grain}));
  EXPECT_TRUE(scanned().sound());
  memory_.truncate(kExtentPath, built_.file_size - 1);
  expect_fault("is cut off by the end of the file");
}

TEST_F(TableScanTest, GrainsThatShare) {
  make(small_spec(6 * kMiB, {grain_of(0, 1)}));
  set_entry(1030, sector_of(0), TableCopies::kBoth);
  expect_fault("grain 1030 (disk sector 8240 of the extent)");
}

TEST_F(TableScanTest, UnalignedGrainsAreSoundApart) {
  GrainSpec odd = grain_of(0, 1);
  odd.skew = 3;
  GrainSpec next = grain_of(1, 2);
  next.skew = 3;
  make(small_spec(2 * kMiB, {odd, next}));
  EXPECT_TRUE(scanned().sound());
}

TEST_F(TableScanTest, UnalignedGrainsThatOverlap) {
  GrainSpec odd = grain_of(0, 1);
  odd.skew = 3;
  make(small_spec(2 * kMiB, {odd, grain_of(1, 2)}));
  // The builder leaves a gap; an aligned grain right behind reaches into the odd one's tail.
  set_entry(1, (sector_of(0) / 8 + 1) * 8, TableCopies::kBoth);
  expect_fault("reaches into the next one");
  set_entry(1, sector_of(0) + 7, TableCopies::kBoth);
  expect_fault("reaches into the next one");
  set_entry(1, sector_of(0) + 8, TableCopies::kBoth);
  EXPECT_TRUE(scanned().sound()) << "they touch";
  set_entry(1, sector_of(0) + 1, TableCopies::kBoth);
  expect_fault("is shared with another grain");
}

TEST_F(TableScanTest, UnequalCopies) {
  make(small_spec(6 * kMiB, {grain_of(0, 1), grain_of(600, 2)}));
  set_entry(600, 0, TableCopies::kRedundant);
  const TableScan found = scanned();
  EXPECT_TRUE(found.sound());
  EXPECT_EQ(found.unequal, 1U);
  EXPECT_EQ(found.redundant_damaged, 0U);
  EXPECT_EQ(found.unequal_tables, std::vector<std::uint64_t>{1});
  ASSERT_EQ(found.copy_findings.size(), 1U);
  EXPECT_NE(found.copy_findings[0].find("grain 600"), std::string::npos);
}

TEST_F(TableScanTest, ARedundantEntryMustBeLegalByItself) {
  make(small_spec(6 * kMiB, {grain_of(0, 1), grain_of(1, 2)}));
  // What an interrupted removal of grain 1 leaves: the primary has gone, the redundant names it.
  set_entry(1, 0, TableCopies::kPrimary);
  EXPECT_EQ(scanned().redundant_damaged, 0U);
  set_entry(1, 2, TableCopies::kRedundant);
  EXPECT_EQ(scanned().redundant_damaged, 1U) << "into the metadata";
  set_entry(1, sector_of(0), TableCopies::kRedundant);
  EXPECT_EQ(scanned().redundant_damaged, 1U) << "the primary has that grain elsewhere";
  set_entry(1, 0, TableCopies::kRedundant);
  set_entry(8, sector_of(1), TableCopies::kRedundant);
  set_entry(9, sector_of(1), TableCopies::kRedundant);
  const TableScan found = scanned();
  EXPECT_EQ(found.unequal, 2U);
  EXPECT_EQ(found.redundant_damaged, 1U) << "two redundant entries share";
}

TEST_F(TableScanTest, EntriesBehindTheExtentAreIgnored) {
  make(small_spec(2 * kMiB));
  set_entry(100, 2, TableCopies::kPrimary);
  extent_bytes_ = 100 * 4 * kKiB;
  const TableScan found = scanned();
  EXPECT_TRUE(found.sound());
  EXPECT_EQ(found.unequal, 0U);
}

TEST_F(TableScanTest, SpaceThatNoGrainUses) {
  make(small_spec(2 * kMiB, {grain_of(0, 1), grain_of(1, 2), grain_of(2, 3), grain_of(3, 4)}));
  set_entry(1, 0, TableCopies::kBoth);
  set_entry(2, 0, TableCopies::kBoth);
  memory_.truncate(kExtentPath, built_.file_size + 9 * kKiB);
  const TableScan found = scanned();
  EXPECT_EQ(found.highest_end, built_.file_size);
  EXPECT_EQ(found.unused_bytes, 4 * 4 * kKiB) << "whole grains only";
  ASSERT_EQ(found.unused.size(), 2U);
  EXPECT_EQ(found.unused[0].begin, built_.data.at(1));
  EXPECT_EQ(found.unused[0].length, 8 * kKiB);
  EXPECT_EQ(found.unused[1].begin, built_.file_size);
}

TEST_F(TableScanTest, TheTailOfAnUnalignedGrainIsUsed) {
  GrainSpec odd = grain_of(0, 1);
  odd.skew = 3;
  make(small_spec(2 * kMiB, {odd, grain_of(1, 2)}));
  for (const UnusedRange& range : scanned().unused)
    EXPECT_TRUE(range.begin + range.length <= built_.data.at(0) ||
                range.begin >= built_.data.at(0) + 4 * kKiB);
}

TEST_F(TableScanTest, MissingTablesHoldNothing) {
  SparseSpec spec = small_spec(6 * kMiB, {grain_of(0, 1), grain_of(1030, 2)});
  spec.missing_tables = {1};
  make(spec);
  const TableScan found = scanned();
  EXPECT_TRUE(found.sound());
  EXPECT_EQ(found.data_grains, 2U);
  EXPECT_THAT(found.empty_tables, testing::IsEmpty());
}

// Some programs put a new table behind the data.
TEST_F(TableScanTest, TablesInTheDataAreaKeepGrainsOff) {
  make(small_spec(4 * kMiB, {grain_of(0, 1), grain_of(1, 2)}));
  std::array<std::byte, 4> at{};
  store_le32(at, 0, sector_of(1));
  memory_.poke(kExtentPath, built_.directory_entry_at(1), at);
  memory_.poke(kExtentPath, built_.data.at(1), filled(4 * kKiB, 0));
  expect_fault("points into a grain table");
  set_entry(1, 0, TableCopies::kBoth);
  const TableScan found = scanned();
  EXPECT_TRUE(found.sound());
  EXPECT_EQ(found.highest_end, built_.data.at(1) + kGrainTableSize);
  EXPECT_TRUE(found.unused.empty()) << "the rest of its slot cannot hold a grain";
}

TEST_F(TableScanTest, FindingsAreKeptUpToALimit) {
  SparseSpec spec = small_spec(8 * kMiB);
  for (std::uint64_t grain = 0; grain < 1500; ++grain)
    spec.grains.push_back(entry_of(grain, 2));
  make(spec);
  const TableScan found = scanned();
  EXPECT_EQ(found.damaged, 1500U);
  EXPECT_EQ(found.findings.size(), 1000U);
}

TEST_F(TableScanTest, AReadThatFailsIsAnError) {
  make(small_spec(2 * kMiB));
  auto found = directory();
  ASSERT_OK(found);
  const GrainLayout layout = layout_of(header_, std::move(*found), extent_bytes_);
  files_.add({.kinds = {OpKind::kRead}, .err = EIO});
  EXPECT_THAT(scan_tables(file_->file(), layout, extent_bytes_, {}), FailsWith(EIO));
}

TEST_F(TableScanTest, DirectoriesThatCannotBeRight) {
  make(small_spec(6 * kMiB));
  const auto with_entry = [&](std::uint64_t at, std::uint64_t sector) {
    auto before = memory_.content(kExtentPath);
    std::array<std::byte, 4> bytes{};
    store_le32(bytes, 0, static_cast<std::uint32_t>(sector));
    memory_.poke(kExtentPath, at, bytes);
    const auto result = directory();
    memory_.put_content(kExtentPath, before);
    return result;
  };
  const std::uint64_t end = built_.file_size / kSectorSize;
  EXPECT_THAT(with_entry(built_.directory_entry_at(1), end - 3),
              HasMessage("grain table 1 (sector " + std::to_string(end - 3) +
                         ") lies behind the end of the file"));
  EXPECT_THAT(with_entry(built_.directory_entry_at(1, true), 0xFFFFFFFF),
              HasMessage("lies behind the end of the file"));
  EXPECT_THAT(with_entry(built_.directory_entry_at(1), built_.table_at(0) / kSectorSize + 1),
              HasMessage("two metadata areas share sector"));
  EXPECT_THAT(with_entry(built_.directory_entry_at(1), built_.table_at(1, true) / kSectorSize),
              HasMessage("two metadata areas share sector"));
  EXPECT_THAT(with_entry(built_.directory_entry_at(2), header_.descriptor_offset.count() + 1),
              HasMessage("two metadata areas share sector"));
  EXPECT_THAT(with_entry(built_.directory_entry_at(2), 0xFFFFFFFC), IsError(ErrorCode::kCorrupt));
  EXPECT_OK(directory());
}

}  // namespace
}  // namespace vmdk::test
