// ESX deltas (COWD) as they are read and checked, sound and damaged, and Workstation 3 disks.
#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "cowd_fixture.h"

namespace vmdk::test {
namespace {

TEST_F(CowdTest, IsReadInEveryGrainSize) {
  for (const std::uint32_t sectors : {1U, 3U, 8U, 100U, 128U, 2048U}) {
    SCOPED_TRACE(sectors);
    const std::uint32_t grain_size = sectors * 512;
    const std::uint64_t capacity =
        std::min<std::uint64_t>(2 * kCowdTable * grain_size + 5 * 512, 24 * kMiB + 512);
    ReferenceDisk model(capacity);
    const CowdSpec spec = some_grains(capacity, grain_size, model);
    make_cowd("/vm/d.vmdk", spec);
    ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
    EXPECT_EQ(disk->capacity(), capacity);
    EXPECT_EQ(disk->grain_size(), grain_size);
    expect_model(*disk, model);
    const ExtentInfo extent = disk->info().layers[0].extents[0];
    EXPECT_EQ(extent.type, "VMFSSPARSE");
    EXPECT_EQ(extent.header_version, 1U);
    EXPECT_FALSE(extent.zeroed_grains || extent.compressed || extent.unclean);
    const CheckReport report = check("/vm/d.vmdk");
    EXPECT_EQ(report.exit_code(), 0) << findings_;
    EXPECT_EQ(report.allocated_grains, spec.grains.size());
    ASSERT_OK(memory_.remove("/vm/d.vmdk"));
    ASSERT_OK(memory_.remove("/vm/d-delta.vmdk"));
  }
}

TEST_F(CowdTest, ItsMapNamesItsFile) {
  ReferenceDisk model(8 * kMiB);
  CowdSpec spec;
  spec.capacity = 8 * kMiB;
  spec.grains = {{.index = 5, .data = filled(512, 1)}, {.index = 6, .data = filled(512, 2)}};
  const BuiltCowd built = make_cowd("/vm/d.vmdk", spec);
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
  ASSERT_OK_AND_ASSIGN(const MapRun hole, disk->map(DiskOffset(0), kMiB));
  EXPECT_EQ(hole.kind, MapKind::kHole);
  EXPECT_EQ(hole.length, 5U * 512);
  ASSERT_OK_AND_ASSIGN(const MapRun data, disk->map(DiskOffset(5 * 512 + 8), kMiB));
  EXPECT_EQ(data.kind, MapKind::kData);
  EXPECT_EQ(data.length, 1024U - 8);
  EXPECT_EQ(data.file, "/vm/d-delta.vmdk");
  EXPECT_EQ(data.where.bytes(), built.data.at(5) + 8);
}

TEST_F(CowdTest, IsALinkAnywhereInAChain) {
  const std::uint64_t capacity = 5 * kMiB;
  ReferenceDisk model(capacity);
  make_cowd("/vm/base.vmdk", some_grains(capacity, 4096, model));
  DescriptorSpec middle = child_of("base.vmdk", 0x12345678, 0xAAAAAAA1);
  make_cowd("/vm/middle.vmdk", some_grains(capacity, 512, model), middle);
  SparseSpec above;
  above.capacity = capacity;
  above.grain_size = 64 * kKiB;
  above.descriptor = child_of("middle.vmdk", 0xAAAAAAA1, 0xAAAAAAA2);
  const auto grain = random_bytes(64 * kKiB);
  above.grains = {{.index = 3, .data = grain}};
  model.write(3 * 64 * kKiB, grain);
  make("/vm/above.vmdk", above);
  make_cowd("/vm/top.vmdk", some_grains(capacity, 1024, model),
            child_of("above.vmdk", 0xAAAAAAA2, 0xAAAAAAA3));
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/top.vmdk"));
  EXPECT_EQ(disk->info().layers.size(), 4U);
  expect_model(*disk, model);
  EXPECT_EQ(check("/vm/top.vmdk").exit_code(), 0) << findings_;
}

TEST_F(CowdTest, TheFileSaysItsKindNotTheLine) {
  ReferenceDisk model(2 * kMiB);
  DescriptorSpec descriptor;
  descriptor.extent_lines = {extent_line("RW", 2 * kMiB, "SPARSE", "d-delta.vmdk")};
  make_cowd("/vm/d.vmdk", some_grains(2 * kMiB, 512, model), descriptor);
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
  expect_model(*disk, model);
}

TEST_F(CowdTest, AFileByItselfNeedsItsDescriptor) {
  ReferenceDisk model(2 * kMiB);
  make_cowd("/vm/d-000001.vmdk", some_grains(2 * kMiB, 512, model));
  EXPECT_THAT(open_readonly("/vm/d-000001-delta.vmdk"),
              HasMessage("open the disk's descriptor: /vm/d-000001.vmdk"));
}

TEST_F(CowdTest, Workstation3DisksAreOneFileAndOnlyRead) {
  CowdSpec spec;
  spec.capacity = 3 * 512 * 4096 + 512;
  spec.grain_size = 4096;
  spec.version = 3;
  ReferenceDisk model(spec.capacity);
  for (const std::uint64_t index : {0U, 511U, 512U, 1024U, 1535U, 1536U}) {
    EsxGrain grain{.index = index, .data = random_bytes(index == 1536 ? 512 : 4096)};
    model.write(index * 4096, grain.data);
    spec.grains.push_back(grain);
  }
  ASSERT_OK(build_cowd(memory_, "/vm/old.vmdk", spec));
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/old.vmdk"));
    expect_model(*disk, model);
    EXPECT_EQ(disk->info().layers[0].extents[0].header_version, 3U);
  }
  EXPECT_EQ(check("/vm/old.vmdk").exit_code(), 0) << findings_;
  EXPECT_THAT(open("/vm/old.vmdk"), IsError(ErrorCode::kUnsupported));
  EXPECT_THAT(open("/vm/old.vmdk"), HasMessage("Workstation 3 disks are only read"));
  EXPECT_THAT(open("/vm/old.vmdk"), HasMessage("-r mounts it read-only"));
}

TEST_F(CowdTest, Workstation3ChildrenAreRefused) {
  CowdSpec spec;
  spec.capacity = kMiB;
  spec.version = 3;
  spec.edit_header = [](std::span<std::byte> bytes) { store_le32(bytes, kCowdFlagsAt, 0x1A); };
  ASSERT_OK(build_cowd(memory_, "/vm/old.vmdk", spec));
  EXPECT_THAT(open_readonly("/vm/old.vmdk"), HasMessage("a Workstation 3 disk with a parent"));
}

// ---- Damage

TEST_F(CowdTest, HeadersThatCannotBeRight) {
  const std::vector<std::tuple<std::uint64_t, std::uint32_t, std::string>> cases = {
      {4, 2, "version 2: 1 (ESX) and 3 (Workstation 3) are known"},
      {kCowdCapacityAt, 0, "numSectors 0"},
      {kCowdCapacityAt, 100, "the header's capacity is 100 sectors"},
      {kCowdCapacityAt, 0xFFFFFFFF, "numGDEntries 2: 4294967295 sectors in grains of 1 need"},
      {kCowdGrainSizeAt, 0, "grainSize 0"},
      {kCowdGrainSizeAt, 2049, "grainSize 2049"},
      {kCowdDirectoryAt, 3, "gdOffset 3: inside the header"},
      {kCowdDirectoryAt, 0x7FFFFFFF, "end behind the end of the file"},
      {kCowdDirectoryEntriesAt, 1, "numGDEntries 1: 8192 sectors in grains of 1 need 2"},
      {kCowdDirectoryEntriesAt, 0xFFFFFFFF, "end behind the end of the file"}};
  for (const auto& [at, value, message] : cases) {
    SCOPED_TRACE(message);
    CowdSpec spec;
    spec.capacity = 4 * kMiB;
    spec.grains = {{.index = 0, .data = filled(512, 1)}};
    spec.edit_header = [at = at, value = value](std::span<std::byte> bytes) {
      store_le32(bytes, at, value);
    };
    make_cowd("/vm/d.vmdk", spec);
    EXPECT_THAT(open_readonly("/vm/d.vmdk"), HasMessage(message));
    EXPECT_THAT(open("/vm/d.vmdk"), HasMessage(message));
    ASSERT_OK(memory_.remove("/vm/d.vmdk"));
    ASSERT_OK(memory_.remove("/vm/d-delta.vmdk"));
  }
}

class CowdDamageTest : public CowdTest {
 protected:
  void SetUp() override {
    CowdSpec spec;
    spec.capacity = 8 * kMiB;
    spec.grain_size = 1024;
    spec.grains = {{.index = 0, .data = filled(1024, 1)},
                   {.index = 1, .data = filled(1024, 2)},
                   {.index = kCowdTable, .data = filled(1024, 3)}};
    built_ = make_cowd("/vm/d.vmdk", spec);
  }

  std::uint32_t entry_of(std::uint64_t grain) const {
    return static_cast<std::uint32_t>(built_.data.at(grain) / kSectorSize);
  }

  // An entry that is damage: check tells, a writable open is refused, a read fails.
  void expect_damage(std::uint64_t grain, std::uint32_t entry, const std::string& text) {
    poke_entry(kDelta, built_.entry_at(grain), entry);
    EXPECT_EQ(check("/vm/d.vmdk").exit_code(), 2);
    EXPECT_NE(findings_.find(text), std::string::npos) << findings_;
    EXPECT_THAT(open("/vm/d.vmdk"), IsError(ErrorCode::kCorrupt));
    EXPECT_OK(open_readonly("/vm/d.vmdk"));
  }

  static constexpr const char* kDelta = "/vm/d-delta.vmdk";
  BuiltCowd built_;
};

TEST_F(CowdDamageTest, AnEntryIntoTheMetadata) {
  expect_damage(1, 4, "its entry 4 points into the metadata");
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
  std::vector<std::byte> bytes(10);
  EXPECT_THAT(disk->read(DiskOffset(1024), bytes), FailsWith(EIO));
}

TEST_F(CowdDamageTest, AnEntryThatIsOne) {
  expect_damage(1, 1, "its entry 1 is 1, but the header does not allow zeroed grains");
}

TEST_F(CowdDamageTest, AnEntryBehindTheEnd) {
  expect_damage(1, 0xFFFFFFF0, "points behind the end of the file");
}

TEST_F(CowdDamageTest, AnEntryIntoATable) {
  expect_damage(1, static_cast<std::uint32_t>(built_.tables.at(1) / kSectorSize) + 3,
                "points into a grain table");
}

TEST_F(CowdDamageTest, AGrainOfTwo) {
  expect_damage(1, entry_of(0), "is shared with another grain");
}

TEST_F(CowdDamageTest, AGrainThatReachesIntoTheNext) {
  expect_damage(1, entry_of(0) + 1, "");
}

TEST_F(CowdDamageTest, TablesWhereNoneCanBe) {
  const auto table = [&](std::uint32_t sector, const std::string& text) {
    poke_entry(kDelta, built_.directory_entry_at(1), sector);
    EXPECT_THAT(open_readonly("/vm/d.vmdk"), HasMessage(text));
    EXPECT_EQ(check("/vm/d.vmdk").exit_code(), 2);
  };
  table(2, "two metadata areas share sector");
  table(static_cast<std::uint32_t>(built_.tables.at(0) / kSectorSize) + 1,
        "two metadata areas share sector");
  table(0xFFFFFFF0, "lies behind the end of the file");
}

TEST_F(CowdDamageTest, AFreeSectorAmongTheGrainsIsMended) {
  poke_entry(kDelta, kCowdFreeSectorAt, 10);
  EXPECT_EQ(check("/vm/d.vmdk").exit_code(), 3);
  EXPECT_NE(findings_.find("its free sector 10 lies before the end of its grains"),
            std::string::npos);
  EXPECT_EQ(check("/vm/d.vmdk", true).exit_code(), 0);
  EXPECT_EQ(free_sector(kDelta) * kSectorSize, built_.file_size);
  poke_entry(kDelta, kCowdFreeSectorAt, 0xFFFFFFFF);
  EXPECT_EQ(check("/vm/d.vmdk").exit_code(), 3);
  EXPECT_EQ(check("/vm/d.vmdk", true).exit_code(), 0);
  EXPECT_EQ(free_sector(kDelta) * kSectorSize, built_.file_size);
}

TEST_F(CowdDamageTest, AFreeSectorAmongTheGrainsIsRaisedBeforeAWrite) {
  poke_entry(kDelta, kCowdFreeSectorAt, 10);
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  ASSERT_OK(disk->write(DiskOffset(0), filled(512, 9)));
  EXPECT_EQ(free_sector(kDelta) * kSectorSize, built_.file_size);
  ASSERT_OK(disk->close());
  EXPECT_EQ(free_sector(kDelta) * kSectorSize, built_.file_size);
}

TEST_F(CowdDamageTest, AFreeSectorUnderAnOldMarkIsRaisedBeforeAWriteToo) {
  poke_entry(kDelta, kCowdFreeSectorAt, 10);
  poke_entry(kDelta, kCowdUncleanAt, 1);
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  ASSERT_OK(disk->write(DiskOffset(0), filled(512, 9)));
  EXPECT_EQ(free_sector(kDelta) * kSectorSize, built_.file_size);
  ASSERT_OK(disk->close());
  EXPECT_EQ(free_sector(kDelta) * kSectorSize, built_.file_size);
  EXPECT_EQ(peek(kDelta, kCowdUncleanAt), 0U);
}

TEST_F(CowdDamageTest, TheMarkAndLeaksAreMended) {
  poke_entry(kDelta, kCowdUncleanAt, 0x01010101);
  {
    ASSERT_OK_AND_ASSIGN(auto file, memory_.open(kDelta, Access::kReadWrite));
    ASSERT_OK(file->resize(built_.file_size + 64 * kKiB));
  }
  const CheckReport report = check("/vm/d.vmdk");
  EXPECT_EQ(report.exit_code(), 3);
  EXPECT_EQ(report.unused_bytes, 63 * kKiB) << "in whole slots";
  EXPECT_NE(findings_.find("was not closed cleanly"), std::string::npos);
  EXPECT_NE(findings_.find("64512 bytes are used by no grain: leaked"), std::string::npos);
  EXPECT_EQ(check("/vm/d.vmdk", true).exit_code(), 0);
  EXPECT_EQ(memory_.size(kDelta), built_.file_size);
  EXPECT_EQ(peek(kDelta, kCowdUncleanAt), 0U);
}

}  // namespace
}  // namespace vmdk::test
