// The largest that an image can ask for, and that all of it together stays within bounds.
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vmdk/check.h>

#include "disk/disk_fixture.h"
#include "support/esx_builder.h"
#include "support/heap.h"

namespace vmdk::test {
namespace {

constexpr std::size_t kMostMemory = 256 * kMiB;
constexpr std::uint64_t kMostTables = 4 * 1024 * 1024;
constexpr std::uint64_t kTableCoverage = 32 * kMiB;

class LimitsTest : public DiskFixture {
 protected:
  // A file that is one large hole behind its header: a directory of `tables` entries, all of which
  // say that there is no table.
  void put_hole(const std::string& path, std::uint64_t tables, const std::string& parent = {}) {
    const std::uint64_t capacity = tables * kTableCoverage;
    SparseHeader header;
    header.capacity = Sectors(capacity / kSectorSize);
    header.flags = sparse_flag::kNewlineBytes;
    header.descriptor_offset = Sectors(1);
    header.descriptor_size = Sectors(20);
    header.gd_offset = Sectors(21);
    header.overhead = Sectors(21 + header.directory_sectors());
    DescriptorSpec descriptor;
    if (!parent.empty())
      descriptor = child_of(parent, 0x12345678, 0x12345678);
    descriptor.extent_lines = {extent_line("RW", capacity, "SPARSE", "x.vmdk")};
    memory_.put(path, encode_sparse_header(header));
    memory_.poke(path, kSectorSize, bytes_of(descriptor_text(descriptor)));
    memory_.truncate(path, header.overhead.count() * kSectorSize);
  }
};

TEST_F(LimitsTest, TheLargestDirectory) {
  put_hole("/vm/disk.vmdk", kMostTables);
  const MemoryGauge gauge;
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/disk.vmdk"));
  EXPECT_EQ(disk->capacity(), kMostTables * kTableCoverage);
  EXPECT_EQ(read(*disk, disk->capacity() - 1, 1), std::string(1, '\0'));
  EXPECT_LT(gauge.highest(), kMostMemory);
}

TEST_F(LimitsTest, TwoLargestDirectoriesOfTablesThatDoNotFollowEachOther) {
  put_hole("/vm/disk.vmdk", kMostTables);
  const std::uint64_t directory_sectors = kMostTables * 4 / kSectorSize;
  const std::uint64_t redundant_at = 21 + directory_sectors;
  const std::uint64_t overhead = redundant_at + directory_sectors;
  SparseHeader header;
  header.capacity = Sectors(kMostTables * kTableCoverage / kSectorSize);
  header.flags = sparse_flag::kNewlineBytes | sparse_flag::kRedundantTables;
  header.descriptor_offset = Sectors(1);
  header.descriptor_size = Sectors(20);
  header.gd_offset = Sectors(21);
  header.rgd_offset = Sectors(redundant_at);
  header.overhead = Sectors(overhead);
  memory_.poke("/vm/disk.vmdk", 0, encode_sparse_header(header));
  constexpr std::uint64_t kStep = 8;  // sectors; a table has four
  memory_.truncate("/vm/disk.vmdk", (overhead + 2 * kMostTables * kStep) * kSectorSize);
  std::vector<std::byte> places(kMostTables * 4);
  for (const std::uint64_t copy : {0U, 1U}) {
    for (std::uint64_t i = 0; i < kMostTables; ++i)
      store_le32(places, i * 4,
                 static_cast<std::uint32_t>(overhead + (copy * kMostTables + i) * kStep));
    memory_.poke("/vm/disk.vmdk", (copy == 0 ? 21 : redundant_at) * kSectorSize, places);
  }
  const MemoryGauge gauge;
  EXPECT_OK(open_readonly("/vm/disk.vmdk"));
  EXPECT_LT(gauge.highest(), kMostMemory);
}

TEST_F(LimitsTest, OneTableMoreIsRefusedBeforeItsDirectoryIsRead) {
  put_hole("/vm/disk.vmdk", kMostTables + 1);
  const MemoryGauge gauge;
  EXPECT_THAT(open_readonly("/vm/disk.vmdk"), HasMessage("more than 4194304 grain tables"));
  EXPECT_LT(gauge.highest(), 2 * kMiB);
  EXPECT_LT(files_.total().read_bytes(), kMiB);
  EXPECT_THAT(check_image(files_, "/vm/disk.vmdk", {}),
              HasMessage("more than 4194304 grain tables"));
  EXPECT_LT(gauge.highest(), 2 * kMiB);
}

TEST_F(LimitsTest, AChainCountsAsOne) {
  constexpr std::uint64_t kLinks = 8;
  for (std::uint64_t i = 0; i <= kLinks; ++i)
    put_hole("/vm/" + std::to_string(i) + ".vmdk", kMostTables / kLinks,
             std::to_string(i + 1) + ".vmdk");
  put_hole("/vm/" + std::to_string(kLinks + 1) + ".vmdk", 1);
  const MemoryGauge gauge;
  EXPECT_THAT(open_readonly("/vm/0.vmdk"), HasMessage("the chain has more than 4194304"));
  EXPECT_LT(gauge.highest(), kMostMemory);
}

TEST_F(LimitsTest, FilesThatAreAllHole) {
  SeSparseSpec spec;
  spec.capacity = 64 * kMiB;
  ASSERT_OK(build_sesparse_disk(memory_, "/vm/disk.vmdk", spec));
  memory_.truncate("/vm/disk-sesparse.vmdk", std::uint64_t{1} << 60U);
  const MemoryGauge gauge;
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/disk.vmdk"));
  EXPECT_EQ(read(*disk, 0, 1), std::string(1, '\0'));
  EXPECT_LT(gauge.highest(), 8 * kMiB);
}

// Each grain as far from the next as makes the map of grains in use largest.
constexpr std::uint64_t kFarApart = 32768;  // grains
constexpr std::uint64_t kManyGrains = 100'000;

TEST_F(LimitsTest, GrainsFarApartAreNotCheckedAtAnyPrice) {
  CowdSpec spec;
  spec.capacity = 64 * kMiB;
  for (std::uint64_t i = 0; i < kManyGrains; ++i)
    spec.grains.push_back({.index = i, .entry = (i + 1) * kFarApart});
  ASSERT_OK(build_cowd_disk(memory_, "/vm/disk.vmdk", spec));
  memory_.truncate("/vm/disk-delta.vmdk", std::uint64_t{1} << 41U);
  const MemoryGauge gauge;
  EXPECT_THAT(open("/vm/disk.vmdk"), HasMessage("/vm/disk-delta.vmdk: too many grains"));
  EXPECT_THAT(open("/vm/disk.vmdk").error().hint(), testing::HasSubstr("-r mounts it"));
  EXPECT_THAT(check_image(files_, "/vm/disk.vmdk", {}), HasMessage("more than 192 MiB"));
  EXPECT_OK(open_readonly("/vm/disk.vmdk"));
  EXPECT_LT(gauge.highest(), kMostMemory);
}

TEST_F(LimitsTest, SesparseGrainsFarApartToo) {
  SeSparseSpec spec;
  spec.capacity = kGiB;
  for (std::uint64_t i = 0; i < kManyGrains; ++i) {
    const std::uint64_t number = i * kFarApart;
    spec.grains.push_back(
        {.index = i,
         .entry = (std::uint64_t{3} << 60U) | ((number % 4096) << 48U) | (number / 4096)});
  }
  spec.edit_header = [](std::span<std::byte> header) {
    constexpr std::size_t kGrainsLengthAt = 200;
    store_le64(header, kGrainsLengthAt, std::uint64_t{1} << 50U);
  };
  ASSERT_OK(build_sesparse_disk(memory_, "/vm/disk.vmdk", spec));
  memory_.truncate("/vm/disk-sesparse.vmdk", std::uint64_t{1} << 60U);
  const MemoryGauge gauge;
  EXPECT_THAT(check_image(files_, "/vm/disk.vmdk", {}), HasMessage("more than 192 MiB"));
  EXPECT_OK(open_readonly("/vm/disk.vmdk"));
  EXPECT_LT(gauge.highest(), kMostMemory);
}

// The gauge itself, or the tests above would show nothing.
TEST(MemoryGaugeTest, SeesTheMostAndNotTheLast) {
  const MemoryGauge gauge;
  { const std::vector<std::byte> large(3 * kMiB); }
  { const auto array = std::make_unique<std::byte[]>(2 * kMiB); }
  EXPECT_GE(gauge.highest(), 3 * kMiB);
  EXPECT_LT(gauge.highest(), 5 * kMiB);
}

}  // namespace
}  // namespace vmdk::test
