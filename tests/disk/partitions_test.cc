// Tables of partitions: those that programs write, and those that nobody should believe.
#include <string>
#include <vector>

#include <fmt/format.h>

#include <vmdk/partitions.h>

#include "disk_fixture.h"
#include "support/partition_builder.h"

namespace vmdk::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// "2: 1048576+512" for each.
std::vector<std::string> ranges(const PartitionTable& table) {
  std::vector<std::string> result;
  for (const Partition& each : table.partitions)
    result.push_back(fmt::format("{}: {}+{}", each.number, each.begin.bytes(), each.length));
  return result;
}

class PartitionsTest : public DiskFixture {
 protected:
  static constexpr std::uint64_t kSize = kMiB;

  PartitionTable table_of(const std::vector<std::string>& more_lines = {}) {
    DescriptorSpec descriptor;
    descriptor.more_lines = more_lines;
    const std::string image = fmt::format("/vm/{}.vmdk", ++images_);
    EXPECT_OK(build_flat(memory_, image, {{.length = bytes_.size(), .data = bytes_}}, descriptor));
    const auto disk = open_readonly(image);
    EXPECT_OK(disk);
    auto table = disk ? read_partition_table(**disk) : Result<PartitionTable>(disk.error());
    EXPECT_OK(table);
    return table ? *table : PartitionTable{};
  }

  // The table of a disk that has just this warning.
  PartitionTable doubtful(const std::string& warning) {
    PartitionTable table = table_of();
    EXPECT_THAT(table.warnings, ElementsAre(HasSubstr(warning)));
    return table;
  }

  std::span<std::byte> gpt_header(std::size_t sector) {
    return std::span(bytes_).subspan(sector * 512, 512);
  }

  DiskBytes bytes_ = DiskBytes(kSize);
  int images_ = 0;
};

TEST_F(PartitionsTest, ADiskWithoutATableHasNone) {
  const PartitionTable table = table_of();
  EXPECT_EQ(table.kind, PartitionTableKind::kNone);
  EXPECT_THAT(table.partitions, IsEmpty());
  EXPECT_THAT(table.warnings, IsEmpty());
}

TEST_F(PartitionsTest, PrimaryPartitionsKeepTheirPlaces) {
  put_mbr(bytes_, 0, {used(0, 1, 1), used(0x83, 64, 100), used(0x07, 0, 0), {0x80, 0x82, 200, 8}});
  const PartitionTable table = table_of();
  EXPECT_EQ(table.kind, PartitionTableKind::kMbr);
  EXPECT_THAT(ranges(table), ElementsAre("2: 32768+51200", "4: 102400+4096"));
  EXPECT_EQ(table.partitions[0].type, "0x83");
  EXPECT_FALSE(table.partitions[0].active);
  EXPECT_TRUE(table.partitions[1].active);
  EXPECT_THAT(table.warnings, IsEmpty());
}

// Tables without a partition of their own take no number.
TEST_F(PartitionsTest, LogicalPartitionsCountFromFive) {
  put_mbr(bytes_, 0, {used(0x83, 8, 8), used(0x0F, 100, 1000)});
  put_mbr(bytes_, 100 * 512, {used(0x83, 4, 10), used(0x05, 200, 100)});
  put_mbr(bytes_, 300 * 512, {used(0, 0, 0), used(0x05, 50, 100)});
  put_mbr(bytes_, 150 * 512, {used(0x82, 2, 7)});
  const PartitionTable table = table_of();
  EXPECT_THAT(ranges(table),
              ElementsAre("1: 4096+4096", "2: 51200+512000", fmt::format("5: {}+5120", 104 * 512),
                          fmt::format("6: {}+3584", 152 * 512)));
  EXPECT_TRUE(table.partitions[1].extended);
  EXPECT_THAT(table.warnings, IsEmpty());
}

TEST_F(PartitionsTest, AnEmptyExtendedPartitionIsNoFault) {
  put_mbr(bytes_, 0, {used(0x05, 100, 1000)});
  EXPECT_THAT(ranges(table_of()), SizeIs(1));
  EXPECT_THAT(table_of().warnings, IsEmpty());
}

TEST_F(PartitionsTest, LogicalPartitionsThatLeadBackEnd) {
  put_mbr(bytes_, 0, {used(0x05, 100, 1000)});
  put_mbr(bytes_, 100 * 512, {used(0x83, 4, 10), used(0x05, 200, 100)});
  put_mbr(bytes_, 300 * 512, {used(0x83, 4, 10), used(0x05, 0, 100)});
  EXPECT_THAT(doubtful("lead back to themselves").partitions, SizeIs(3));
}

TEST_F(PartitionsTest, AChainOfLogicalPartitionsHasAnEnd) {
  put_mbr(bytes_, 0, {used(0x05, 100, 1900)});
  for (std::uint32_t i = 0; i < 900; ++i)
    put_mbr(bytes_, (100 + 2 * i) * 512, {used(0x83, 1, 1), used(0x05, 2 * (i + 1), 2)});
  EXPECT_THAT(doubtful("more than 128 logical").partitions, SizeIs(1 + 128));
}

TEST_F(PartitionsTest, LogicalPartitionsThatAreLostAreTold) {
  put_mbr(bytes_, 0, {used(0x05, 100, 1000)});
  put_mbr(bytes_, 100 * 512, {used(0x83, 4, 10), used(0x05, 200, 100)});
  EXPECT_THAT(doubtful("from number 6 on").partitions, SizeIs(2));
  put_mbr(bytes_, 100 * 512, {used(0x83, 4, 10), used(0x05, 0xFFFFFFF0, 100)});
  EXPECT_THAT(doubtful("from number 6 on").partitions, SizeIs(2));
}

TEST_F(PartitionsTest, ASecondExtendedPartitionIsNotWalked) {
  put_mbr(bytes_, 0, {used(0x05, 100, 100), used(0x0F, 300, 100)});
  put_mbr(bytes_, 100 * 512, {used(0x83, 4, 10)});
  put_mbr(bytes_, 300 * 512, {used(0x83, 4, 10)});
  EXPECT_THAT(doubtful("second extended").partitions, SizeIs(3));
}

TEST_F(PartitionsTest, PartitionsEndWhereTheDiskEnds) {
  put_mbr(bytes_, 0, {used(0x83, 2000, 100)});
  EXPECT_THAT(ranges(doubtful("partition 1 goes on behind")),
              ElementsAre(fmt::format("1: 1024000+{}", kSize - 1024000)));
  put_mbr(bytes_, 0, {used(0x83, 2048, 1)});
  EXPECT_THAT(doubtful("partition 1 begins behind").partitions, IsEmpty());
}

TEST_F(PartitionsTest, FileSystemsThatBeginLikeATableAreNone) {
  put_mbr(bytes_, 0, {used(0x83, 64, 100)});
  const DiskBytes table = bytes_;
  const auto put_text = [&](std::size_t at, std::string_view text) {
    bytes_ = table;
    const auto letters = bytes_of(text);
    std::copy(letters.begin(), letters.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(at));
  };
  put_text(3, "NTFS    ");
  EXPECT_EQ(table_of().kind, PartitionTableKind::kNone);
  put_text(3, "EXFAT   ");
  EXPECT_EQ(table_of().kind, PartitionTableKind::kNone);
  put_text(54, "FAT16   ");
  EXPECT_EQ(table_of().kind, PartitionTableKind::kNone);
  put_text(82, "FAT32   ");
  EXPECT_EQ(table_of().kind, PartitionTableKind::kNone);
  put_text(446, "\x01");  // boot code
  EXPECT_EQ(table_of().kind, PartitionTableKind::kNone);
  bytes_ = table;
  EXPECT_EQ(table_of().kind, PartitionTableKind::kMbr);
}

TEST_F(PartitionsTest, AnMbrCountsInTheSectorsThatTheImageStates) {
  put_mbr(bytes_, 0, {used(0x83, 16, 10), used(0x05, 100, 100)});
  put_mbr(bytes_, 100 * 4096, {used(0x83, 2, 5)});
  EXPECT_EQ(table_of().sector_size, 512U);
  const PartitionTable table = table_of({"ddb.logicalSectorSize = \"4096\""});
  EXPECT_EQ(table.sector_size, 4096U);
  EXPECT_THAT(ranges(table), ElementsAre("1: 65536+40960", "2: 409600+409600", "5: 417792+20480"));
}

TEST_F(PartitionsTest, GptHasNamesAndItsOwnNumbers) {
  put_gpt(bytes_, {.parts = {{64, 127, u"root"}, {200, 200, u"\u00E9\u6F22\U0001F4BE", 7}}});
  const PartitionTable table = table_of();
  EXPECT_EQ(table.kind, PartitionTableKind::kGpt);
  EXPECT_THAT(ranges(table), ElementsAre("1: 32768+32768", "7: 102400+512"));
  EXPECT_EQ(table.partitions[0].name, "root");
  EXPECT_EQ(table.partitions[1].name, "\u00E9\u6F22\U0001F4BE");
  EXPECT_EQ(table.partitions[0].type, "A3A2A1A0-A5A4-A7A6-A8A9-AAABACADAEAF");
  EXPECT_EQ(table.partitions[0].id, "B3B2B1B0-B5B4-B7B6-B8B9-BABBBCBDBEBF");
  EXPECT_THAT(table.warnings, IsEmpty());
}

TEST_F(PartitionsTest, HalfACharacterInANameIsReplaced) {
  static constexpr char16_t kName[] = {u'a', 0xD800, u'b', 0xDC00, 0};
  put_gpt(bytes_, {.parts = {{64, 127, kName}}});
  EXPECT_EQ(table_of().partitions.at(0).name, "a\uFFFDb\uFFFD");
}

TEST_F(PartitionsTest, GptInSectorsOf4096Bytes) {
  put_gpt(bytes_, {.sector_size = 4096, .parts = {{16, 31}}});
  for (const auto& lines : {std::vector<std::string>(), {"ddb.logicalSectorSize = \"4096\""}}) {
    const PartitionTable table = table_of(lines);
    EXPECT_EQ(table.sector_size, 4096U);
    EXPECT_THAT(ranges(table), ElementsAre("1: 65536+65536"));
    EXPECT_THAT(table.warnings, IsEmpty());
  }
}

TEST_F(PartitionsTest, GptWithLargerAndMoreEntries) {
  put_gpt(bytes_, {.parts = {{1500, 1501, u"a", 300}}, .entry_count = 300, .entry_size = 256});
  EXPECT_THAT(ranges(table_of()), ElementsAre("300: 768000+1024"));
}

TEST_F(PartitionsTest, TheSecondGptCountsWhereTheFirstIsDamaged) {
  put_gpt(bytes_, {.parts = {{64, 127}}});
  const DiskBytes sound = bytes_;
  store_u8(bytes_, 512 + 60, 1);  // the header's checksum is wrong
  EXPECT_THAT(ranges(doubtful("first copy of the GPT is damaged")), ElementsAre("1: 32768+32768"));
  bytes_ = sound;
  store_u8(bytes_, 1024 + 32, 70);  // the entries' is
  EXPECT_THAT(ranges(doubtful("first copy of the GPT is damaged")), ElementsAre("1: 32768+32768"));
  bytes_ = sound;
  store_le64(gpt_header(1), 24, 5);  // it is another sector's
  seal_gpt_header(gpt_header(1));
  EXPECT_THAT(ranges(doubtful("first copy of the GPT is damaged")), ElementsAre("1: 32768+32768"));
  bytes_ = sound;
  store_u8(bytes_, kSize - 512 + 60, 1);
  EXPECT_THAT(ranges(doubtful("second copy of the GPT")), ElementsAre("1: 32768+32768"));
  store_u8(bytes_, 512 + 60, 1);
  EXPECT_EQ(doubtful("neither copy of it is sound").kind, PartitionTableKind::kNone);
}

TEST_F(PartitionsTest, GptCountsBesideOtherEntriesOfTheMbrAndNotWithoutItsOwn) {
  put_gpt(bytes_, {.parts = {{64, 127}}});
  put_mbr(bytes_, 0, {used(0xEE, 1, 30), used(0x83, 64, 64)});
  EXPECT_EQ(table_of().kind, PartitionTableKind::kGpt);
  put_mbr(bytes_, 0, {used(0x83, 64, 64), used(0, 0, 0)});
  EXPECT_EQ(table_of().kind, PartitionTableKind::kMbr);
}

TEST_F(PartitionsTest, AGptThatClaimsAGreatDealCostsNothing) {
  put_gpt(bytes_, {.parts = {{64, 127}}});
  const DiskBytes sound = bytes_;
  const auto with = [&](std::uint32_t count, std::uint32_t size, std::uint64_t at) {
    bytes_ = sound;
    for (const std::size_t sector : {std::size_t{1}, kSize / 512 - 1}) {
      store_le64(gpt_header(sector), 72, at);
      store_le32(gpt_header(sector), 80, count);
      store_le32(gpt_header(sector), 84, size);
      seal_gpt_header(gpt_header(sector));
    }
    EXPECT_EQ(doubtful("neither copy of it is sound").kind, PartitionTableKind::kNone);
  };
  with(0xFFFFFFFF, 128, 2);
  with(0xFFFFFFFF, 0xFFFFFFF8, 2);
  with(128, 0, 2);
  with(128, 64, 2);
  with(8192, 4096, 2);
  with(128, 128, ~std::uint64_t{0});
  with(128, 128, ~std::uint64_t{0} / 512);
}

TEST_F(PartitionsTest, AGptWithTooManyOrTooShortEntriesIsNone) {
  put_gpt(bytes_, {.entry_count = 8, .entry_size = 64});
  EXPECT_EQ(doubtful("neither copy of it is sound").kind, PartitionTableKind::kNone);
  bytes_ = DiskBytes(3 * kMiB);
  put_gpt(bytes_, {.entry_count = 8193});
  EXPECT_EQ(doubtful("neither copy of it is sound").kind, PartitionTableKind::kNone);
}

TEST_F(PartitionsTest, ManyPartitionsAndManyWarningsAreCut) {
  GptSpec spec{.entry_count = 400};
  for (std::uint64_t i = 0; i < 400; ++i)
    spec.parts.push_back(i < 300 ? GptPart{500 + i, 500 + i} : GptPart{20, 10});
  put_gpt(bytes_, spec);
  const PartitionTable table = table_of();
  EXPECT_THAT(table.partitions, SizeIs(kMaxPartitions));
  EXPECT_THAT(table.warnings, SizeIs(17));
  EXPECT_EQ(table.warnings.back(), "128 more warnings about partitions");
}

TEST_F(PartitionsTest, ADiskThatCannotBeReadIsAnError) {
  SparseSpec spec;
  spec.capacity = kMiB;
  GrainSpec grain;
  grain.data.assign(512, std::byte{1});
  spec.grains.push_back(grain);
  make("/vm/disk.vmdk", spec);
  const auto disk = open_readonly("/vm/disk.vmdk");
  ASSERT_OK(disk);
  memory_.truncate("/vm/disk.vmdk", 64 * kKiB);
  EXPECT_FALSE(read_partition_table(**disk));
}

}  // namespace
}  // namespace vmdk::test
