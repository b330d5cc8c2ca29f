#include "support/reference_disk.h"

#include <gtest/gtest.h>

#include <vmdk/units.h>

#include "support/file_helpers.h"
#include "support/matchers.h"

namespace vmdk::test {
namespace {

using ::testing::ElementsAre;

TEST(ReferenceDiskTest, RemembersWritesAndZeros) {
  ReferenceDisk disk(2048 * kGiB);
  disk.write(kGiB - 1, filled(3, 5));
  disk.zero(kGiB, 1);
  EXPECT_THAT(disk.read(kGiB - 2, 5),
              ElementsAre(std::byte{0}, std::byte{5}, std::byte{0}, std::byte{5}, std::byte{0}));
  EXPECT_EQ(disk.read(disk.capacity() - 1, 10).size(), 1U);
}

TEST(ReferenceDiskTest, DifferenceNamesTheFirstWrongByte) {
  ReferenceDisk disk(kMiB);
  disk.write(100, filled(100, 1));
  EXPECT_EQ(disk.difference(100, filled(100, 1)), std::nullopt);
  auto actual = filled(100, 1);
  actual[7] = std::byte{0xAB};
  actual[50] = std::byte{2};
  EXPECT_THAT(disk.difference(100, actual).value_or(""),
              ::testing::HasSubstr("2 of 100 bytes differ, the first at 107: ab01"));
  EXPECT_NE(disk.difference(kMiB - 1, filled(2, 0)), std::nullopt);
}

TEST(ReferenceDiskTest, ZerosThatWereWrittenAreZeros) {
  ReferenceDisk disk(2048 * kGiB);
  EXPECT_TRUE(disk.is_zero(0, disk.capacity()));
  disk.write(kGiB, filled(10'000, 0));
  EXPECT_TRUE(disk.is_zero(kGiB - 5, 20'000));
  disk.write(kGiB + 5000, filled(1, 1));
  EXPECT_FALSE(disk.is_zero(kGiB - 5, 20'000));
  EXPECT_FALSE(disk.is_zero(kGiB + 5000, 1));
  EXPECT_TRUE(disk.is_zero(kGiB, 5000));
  EXPECT_TRUE(disk.is_zero(kGiB + 5001, kGiB));
}

class SectorHistoryTest : public ::testing::Test {
 protected:
  static std::vector<std::byte> sector(unsigned value) { return filled(kSectorSize, value); }

  // The verdict on a disk that is all zeros but for the sector 3, which has `value`.
  std::optional<std::string> verdict(std::size_t point, unsigned value) const {
    ReferenceDisk disk(kMiB);
    disk.write(3 * kSectorSize, sector(value));
    return history_.check(
        point, [&](std::uint64_t at, std::size_t length) { return disk.read(at, length); });
  }

  SectorHistory history_{ReferenceDisk(kMiB)};
};

TEST_F(SectorHistoryTest, BeforeTheFlushOldAndNewAreLegal) {
  history_.write(0, 3 * kSectorSize, sector(1));
  history_.write(2, 3 * kSectorSize, sector(2));
  EXPECT_THAT(history_.legal(0, 3), ElementsAre(sector(0)));
  EXPECT_THAT(history_.legal(1, 3), ElementsAre(sector(0), sector(1)));
  EXPECT_THAT(history_.legal(3, 3), ElementsAre(sector(0), sector(1), sector(2)));
  EXPECT_EQ(verdict(3, 1), std::nullopt);
  EXPECT_THAT(verdict(2, 2).value_or(""), ::testing::HasSubstr("sector 3 has 0202"));
}

TEST_F(SectorHistoryTest, FlushLeavesOneValueUntilTheNextWrite) {
  history_.write(0, 3 * kSectorSize, sector(1));
  history_.write(2, 3 * kSectorSize, sector(2));
  history_.flushed(6);
  history_.zero(6, 3 * kSectorSize, kSectorSize);
  EXPECT_THAT(history_.legal(5, 3), ElementsAre(sector(0), sector(1), sector(2)));
  EXPECT_THAT(history_.legal(6, 3), ElementsAre(sector(2)));
  EXPECT_THAT(history_.legal(7, 3), ElementsAre(sector(2), sector(0)));
  EXPECT_NE(verdict(6, 0), std::nullopt);
  EXPECT_EQ(verdict(6, 2), std::nullopt);
  EXPECT_NE(verdict(7, 1), std::nullopt);
}

TEST_F(SectorHistoryTest, FailedWriteStaysPossibleAfterTheFlush) {
  history_.write(0, 3 * kSectorSize, sector(1));
  history_.failed_write(1, 3 * kSectorSize, sector(2));
  history_.flushed(3);
  EXPECT_THAT(history_.legal(3, 3), ElementsAre(sector(1), sector(2)));
}

TEST_F(SectorHistoryTest, SectorsNeverWrittenMustNotChange) {
  history_.write(0, 4 * kSectorSize, sector(1));
  EXPECT_THAT(verdict(1, 7).value_or(""), ::testing::HasSubstr("never written"));
  EXPECT_EQ(verdict(1, 0), std::nullopt);
}

TEST_F(SectorHistoryTest, OnlyWhatWasWrittenIsLookedAtWhenAskedSo) {
  history_.write(0, 4 * kSectorSize, filled(100 * kKiB, 1));
  history_.write(1, 900 * kKiB, sector(2));
  ReferenceDisk disk = history_.now();
  std::uint64_t looked_at = 0;
  const auto read = [&](std::uint64_t at, std::size_t length) {
    looked_at += length;
    return disk.read(at, length);
  };
  EXPECT_EQ(history_.check_written(2, read), std::nullopt);
  EXPECT_EQ(looked_at, 100 * kKiB + kSectorSize);
  disk.write(2 * kSectorSize, sector(9));  // nobody wrote there
  EXPECT_EQ(history_.check_written(2, read), std::nullopt);
  for (const std::uint64_t at : {4 * kSectorSize, 100 * kKiB, 900 * kKiB}) {
    disk = history_.now();
    disk.write(at, sector(9));
    EXPECT_THAT(history_.check_written(2, read).value_or(""),
                ::testing::HasSubstr("sector " + std::to_string(at / kSectorSize) + " has 0909"));
  }
  EXPECT_THAT(history_.check_written(2, [](auto, auto) { return filled(10, 0); }).value_or(""),
              ::testing::HasSubstr("10 of 65536 bytes could be read"));
}

TEST_F(SectorHistoryTest, PartOfASectorChangesAllOfIt) {
  history_.write(0, 4 * kSectorSize - 1, filled(2, 9));
  EXPECT_EQ(history_.legal(1, 3).back().back(), std::byte{9});
  EXPECT_EQ(history_.legal(1, 4).back().front(), std::byte{9});
  EXPECT_EQ(history_.legal(1, 5).size(), 1U);
}

}  // namespace
}  // namespace vmdk::test
