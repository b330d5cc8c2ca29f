#include "support/boundary_random.h"

#include <set>
#include <string>

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

namespace vmdk::test {
namespace {

const DiskEdges kEdges = {
    .capacity = 100 * kMiB + 512, .grain_size = 64 * kKiB, .extents = {0, 10 * kMiB + 1024}};

TEST(BoundaryRandomTest, EveryKindOfEdgeIsHitAndNothingLeavesTheDisk) {
  BoundaryRandom random(kEdges, 1);
  std::set<std::uint64_t> begins;
  std::set<std::uint64_t> ends;
  for (int i = 0; i < 20'000; ++i) {
    const DiskRange range = random.range(kMiB);
    ASSERT_GT(range.length, 0U);
    ASSERT_LE(range.length, kMiB);
    ASSERT_LE(range.at + range.length, kEdges.capacity);
    begins.insert(range.at);
    ends.insert(range.at + range.length);
  }
  for (const std::uint64_t edge :
       {std::uint64_t{0}, std::uint64_t{1}, kSectorSize, 32 * kMiB - 1, 32 * kMiB, 32 * kMiB + 512,
        10 * kMiB + 1024, kEdges.capacity - 1, kEdges.capacity - 512})
    EXPECT_TRUE(begins.contains(edge)) << edge;
  EXPECT_TRUE(ends.contains(kEdges.capacity));
  EXPECT_TRUE(ends.contains(32 * kMiB));
}

TEST(BoundaryRandomTest, SectorRangesAreAligned) {
  BoundaryRandom random(kEdges, 2);
  for (int i = 0; i < 5'000; ++i) {
    const DiskRange range = random.sector_range(64 * kKiB);
    ASSERT_GT(range.length, 0U);
    ASSERT_LE(range.length, 64 * kKiB);
    ASSERT_EQ(range.at % kSectorSize, 0U);
    ASSERT_EQ(range.length % kSectorSize, 0U);
    ASSERT_LE(range.at + range.length, kEdges.capacity);
  }
}

TEST(BoundaryRandomTest, FillTellsWhichItIsAndHasNoZero) {
  BoundaryRandom random(kEdges, 3);
  const auto text = [](const std::vector<std::byte>& bytes) {
    std::string result;
    for (const std::byte value : bytes)
      result += static_cast<char>(value);
    return result;
  };
  EXPECT_EQ(text(random.fill(20)), "w000001@0000000 w000");
  EXPECT_EQ(text(random.fill(17)), "w000002@0000000 w");
  for (const std::byte value : random.fill(4096))
    EXPECT_NE(value, std::byte{0});
}

TEST(BoundaryRandomTest, SameSeedSameSequenceAndFailuresShowIt) {
  BoundaryRandom first(kEdges, 77);
  BoundaryRandom second(kEdges, 77);
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(first.offset(), second.offset());
  EXPECT_NONFATAL_FAILURE(ADD_FAILURE(), "--gtest_random_seed=77");
}

TEST(BoundaryRandomTest, SeedOfTheRunIsNeverZero) {
  EXPECT_NE(BoundaryRandom(kEdges).seed(), 0U);
}

}  // namespace
}  // namespace vmdk::test
