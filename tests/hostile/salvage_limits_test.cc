// The largest that a damaged image can ask of --salvage.
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "disk/disk_fixture.h"
#include "support/esx_builder.h"
#include "support/heap.h"
#include "support/soak.h"

namespace vmdk::test {
namespace {

constexpr std::size_t kMostMemory = 256 * kMiB;
constexpr std::uint64_t kMostTables = 4 * 1024 * 1024;
// Each grain as far from the next as makes the map of grains in use largest.
constexpr std::uint64_t kFarApart = 32768;  // grains

class SalvageLimitsTest : public DiskFixture {
 protected:
  void SetUp() override { options_.salvage = true; }

  // Two directories of tables that do not follow each other and hold nothing; in the order of the
  // file, or backwards.
  void put_scattered_tables(std::uint64_t tables, bool backwards) {
    constexpr std::uint64_t kStep = 8;  // sectors; a table has four
    const std::uint64_t capacity = tables * 512 * 64 * kKiB;
    SparseHeader header;
    header.capacity = Sectors(capacity / kSectorSize);
    header.flags = sparse_flag::kNewlineBytes | sparse_flag::kRedundantTables;
    header.descriptor_offset = Sectors(1);
    header.descriptor_size = Sectors(20);
    header.gd_offset = Sectors(21);
    header.rgd_offset = Sectors(21 + header.directory_sectors());
    header.overhead = Sectors(21 + 2 * header.directory_sectors());
    DescriptorSpec descriptor;
    descriptor.extent_lines = {extent_line("RW", capacity, "SPARSE", "x.vmdk")};
    memory_.put("/vm/disk.vmdk", encode_sparse_header(header));
    memory_.poke("/vm/disk.vmdk", kSectorSize, bytes_of(descriptor_text(descriptor)));
    // Not where the first table lies by convention.
    const std::uint64_t begin = header.overhead.count() + kStep / 2;
    memory_.truncate("/vm/disk.vmdk", (begin + 2 * tables * kStep) * kSectorSize);
    std::vector<std::byte> places(tables * 4);
    for (const std::uint64_t copy : {0U, 1U}) {
      for (std::uint64_t i = 0; i < tables; ++i) {
        const std::uint64_t number = copy * tables + i;
        const std::uint64_t place = backwards ? 2 * tables - 1 - number : number;
        store_le32(places, i * 4, static_cast<std::uint32_t>(begin + place * kStep));
      }
      memory_.poke("/vm/disk.vmdk",
                   (copy == 0 ? header.gd_offset : header.rgd_offset).count() * kSectorSize,
                   places);
    }
  }

  std::size_t most_memory_for(std::uint64_t tables, bool backwards) {
    put_scattered_tables(tables, backwards);
    const MemoryGauge gauge;
    const auto disk = open_readonly("/vm/disk.vmdk");
    EXPECT_OK(disk);
    EXPECT_TRUE(disk && (*disk)->info().salvaged_count == 0);
    EXPECT_OK(memory_.remove("/vm/disk.vmdk"));
    return gauge.highest();
  }

  // An SESparse disk whose entries name grains far apart, each `times` times.
  void put_far_apart(std::uint64_t grains, std::uint64_t times) {
    SeSparseSpec spec;
    spec.capacity = kGiB;
    for (std::uint64_t i = 0; i < grains * times; ++i) {
      const std::uint64_t number = i / times * kFarApart;
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
  }

  void expect_refused(const std::string& file) {
    const MemoryGauge gauge;
    const auto disk = open_readonly("/vm/disk.vmdk");
    EXPECT_THAT(disk, IsError(ErrorCode::kUnsupported));
    EXPECT_THAT(disk, HasMessage(file + ": cannot be salvaged: its tables have too many grains"));
    EXPECT_THAT(disk, HasMessage("more than 192 MiB of memory"));
    EXPECT_THAT(disk, HasMessage("without --salvage, -r"));
    EXPECT_LT(gauge.highest(), kMostMemory);
    options_.salvage = false;
    EXPECT_OK(open_readonly("/vm/disk.vmdk")) << "what the hint says";
  }
};

// A part of the most that there can be, as all would take minutes here.
TEST_F(SalvageLimitsTest, DirectoriesTakeTheirShareOfTheMemory) {
  const std::uint64_t share = soak() ? 16 : 256;
  const std::size_t one = most_memory_for(1, false);
  for (const bool backwards : {false, true})
    EXPECT_LT(most_memory_for(kMostTables / share, backwards) - one, kMostMemory / share)
        << backwards;
}

TEST_F(SalvageLimitsTest, GrainsFarApartAreNotSearchedAtAnyPrice) {
  put_far_apart(100'000, 1);
  expect_refused("/vm/disk-sesparse.vmdk");
}

TEST_F(SalvageLimitsTest, NorThoseThatTwoEntriesName) {
  put_far_apart(40'000, 2);
  expect_refused("/vm/disk-sesparse.vmdk");
}

TEST_F(SalvageLimitsTest, GrainsOfDeltasFarApart) {
  CowdSpec spec;
  spec.capacity = 64 * kMiB;
  for (std::uint64_t i = 0; i < 100'000; ++i)
    spec.grains.push_back({.index = i, .entry = (i + 1) * kFarApart});
  ASSERT_OK(build_cowd_disk(memory_, "/vm/disk.vmdk", spec));
  memory_.truncate("/vm/disk-delta.vmdk", std::uint64_t{1} << 41U);
  expect_refused("/vm/disk-delta.vmdk");
}

// Below the bound nothing is refused.
TEST_F(SalvageLimitsTest, HalfAsManyAreServed) {
  put_far_apart(20'000, 2);
  const MemoryGauge gauge;
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/disk.vmdk"));
  EXPECT_LT(gauge.highest(), kMostMemory);
  std::vector<std::byte> bytes(1);
  EXPECT_THAT(disk->read(DiskOffset(0), bytes), FailsWith(EIO)) << "two grains in one place";
}

}  // namespace
}  // namespace vmdk::test
