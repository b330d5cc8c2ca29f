// ESX deltas (COWD) through the whole engine, and Workstation 3 disks.
#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "disk_fixture.h"
#include "support/esx_builder.h"
#include "support/reference_disk.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kTable = 4096;  // entries

class CowdTest : public DiskFixture {
 protected:
  std::vector<std::byte> random_bytes(std::size_t length) {
    std::vector<std::byte> bytes(length);
    std::generate(bytes.begin(), bytes.end(),
                  [this] { return static_cast<std::byte>('a' + random_() % 26); });
    return bytes;
  }

  // Some grains of every table, in no order, the last one of the disk among them.
  CowdSpec some_grains(std::uint64_t capacity, std::uint32_t grain_size, ReferenceDisk& model) {
    CowdSpec spec;
    spec.capacity = capacity;
    spec.grain_size = grain_size;
    const std::uint64_t grains = (capacity + grain_size - 1) / grain_size;
    std::vector<std::uint64_t> wanted{grains - 1, 0, 1};
    for (std::uint64_t i = 0; i < 40; ++i)
      wanted.push_back(random_() % grains);
    for (std::uint64_t border = kTable; border < grains; border += kTable)
      wanted.insert(wanted.end(), {border - 1, border, border + 1});
    for (const std::uint64_t index : wanted) {
      if (index >= grains || std::any_of(spec.grains.begin(), spec.grains.end(),
                                         [&](const auto& grain) { return grain.index == index; }))
        continue;
      EsxGrain grain;
      grain.index = index;
      grain.data = random_bytes(std::min<std::uint64_t>(grain_size, capacity - index * grain_size));
      model.write(index * grain_size, grain.data);
      spec.grains.push_back(grain);
    }
    return spec;
  }

  BuiltCowd make_cowd(const std::filesystem::path& path, const CowdSpec& spec,
                      DescriptorSpec descriptor = {}) {
    auto built = build_cowd_disk(memory_, path, spec, std::move(descriptor));
    EXPECT_OK(built);
    return built ? *built : BuiltCowd{};
  }

  // /vm/d.vmdk, of which the last grain is three sectors of the disk, and its file ends with them.
  // Returns where the file would end with the grain.
  std::uint64_t make_short_ended() {
    CowdSpec spec;
    spec.capacity = kMiB + 3 * kSectorSize;
    spec.grain_size = 4096;
    spec.grains = {{.index = kMiB / 4096, .data = filled(3 * kSectorSize, 's')}};
    const BuiltCowd built = make_cowd("/vm/d.vmdk", spec);
    memory_.truncate("/vm/d-delta.vmdk", built.file_size - 5 * kSectorSize);
    return built.file_size;
  }

  void expect_model(Disk& disk, const ReferenceDisk& model) {
    std::vector<std::byte> bytes(disk.capacity());
    ASSERT_OK(disk.read(DiskOffset(0), bytes));
    EXPECT_EQ(model.difference(0, bytes), std::nullopt);
  }

  CheckReport check(const std::filesystem::path& image, bool repair = false) {
    CheckOptions options;
    options.repair = repair;
    auto report = check_image(memory_, image, options);
    EXPECT_OK(report);
    for (const Finding& finding : report ? report->findings : std::vector<Finding>())
      findings_ += finding.text + "\n";
    return report ? *report : CheckReport{};
  }

  std::uint32_t free_sector(const std::string& file) const { return peek(file, kCowdFreeSectorAt); }

  std::mt19937 random_{11};
  std::string findings_;
};

TEST_F(CowdTest, IsReadInEveryGrainSize) {
  for (const std::uint32_t sectors : {1U, 3U, 8U, 100U, 128U, 2048U}) {
    SCOPED_TRACE(sectors);
    const std::uint32_t grain_size = sectors * 512;
    const std::uint64_t capacity =
        std::min<std::uint64_t>(2 * kTable * grain_size + 5 * 512, 24 * kMiB + 512);
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

// ---- Writing

TEST_F(CowdTest, AFreshDeltaIsWrittenWithoutHarm) {
  make_sparse("/vm/base.vmdk", {}, "of the base", 20 * kMiB);
  const auto before = memory_.contents("/vm/base.vmdk");
  CowdSpec spec;
  spec.capacity = 20 * kMiB;
  make_cowd("/vm/d.vmdk", spec, child_of("base.vmdk"));
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
    ASSERT_OK(write(*disk, 3, "THE"));
    ASSERT_OK(write(*disk, 9 * kMiB + 100, "far away"));
    EXPECT_EQ(read(*disk, 0, 11), "of THE base");
    EXPECT_EQ(read(*disk, 9 * kMiB + 98, 12), std::string("\0\0far away\0\0", 12));
    ASSERT_OK(disk->close());
  }
  EXPECT_EQ(memory_.contents("/vm/base.vmdk"), before);
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
  EXPECT_EQ(read(*disk, 0, 11), "of THE base");
  EXPECT_EQ(read(*disk, 9 * kMiB + 98, 12), std::string("\0\0far away\0\0", 12));
  EXPECT_EQ(check("/vm/d.vmdk").exit_code(), 0) << findings_;
  // Two tables and two grains, each table before its grains.
  const std::string delta = "/vm/d-delta.vmdk";
  const std::uint64_t first_table = peek(delta, 2048) * kSectorSize;
  EXPECT_EQ(first_table, 2048U + 512);
  EXPECT_EQ(peek(delta, first_table) * kSectorSize, first_table + 16 * kKiB);
  EXPECT_EQ(free_sector(delta) * kSectorSize, memory_.size(delta));
  EXPECT_EQ(memory_.size(delta), first_table + 2 * (16 * kKiB + 512));
  EXPECT_EQ(peek(delta, kCowdUncleanAt), 0U);
}

TEST_F(CowdTest, NothingIsWrittenBeforeTheFirstWrite) {
  ReferenceDisk model(2 * kMiB);
  make_cowd("/vm/d.vmdk", some_grains(2 * kMiB, 512, model));
  const auto before = all_bytes();
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
    expect_model(*disk, model);
    ASSERT_OK(disk->close());
  }
  EXPECT_EQ(all_bytes(), before);
}

TEST_F(CowdTest, CarriesItsMarkWhileItIsWritten) {
  CowdSpec spec;
  spec.capacity = kMiB;
  make_cowd("/vm/d.vmdk", spec);
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  EXPECT_EQ(peek("/vm/d-delta.vmdk", kCowdUncleanAt), 0U);
  ASSERT_OK(write(*disk, 0, "x"));
  EXPECT_EQ(peek("/vm/d-delta.vmdk", kCowdUncleanAt), 1U);
  ASSERT_OK(disk->close());
  EXPECT_EQ(peek("/vm/d-delta.vmdk", kCowdUncleanAt), 0U);
}

struct WriteCase {
  std::uint32_t grain_size;
  bool with_parent;
};

class CowdWriteTest : public CowdTest, public testing::WithParamInterface<WriteCase> {};

TEST_P(CowdWriteTest, RandomWritesAreWhatIsReadAfterThem) {
  const auto [grain_size, with_parent] = GetParam();
  const std::uint64_t capacity = 10 * kMiB + 3 * 512;
  ReferenceDisk model(capacity);
  DescriptorSpec descriptor;
  if (with_parent) {
    make_cowd("/vm/base.vmdk", some_grains(capacity, 2048, model));
    descriptor = child_of("base.vmdk", 0x12345678, 0xBBBBBBB1);
  }
  make_cowd("/vm/d.vmdk", some_grains(capacity, grain_size, model), descriptor);
  for (int session = 0; session < 4; ++session) {
    ASSERT_OK_AND_ASSIGN(auto disk, open("/vm/d.vmdk"));
    for (int i = 0; i < 150; ++i) {
      const std::uint64_t length = 1 + random_() % (i % 7 == 0 ? 300 * kKiB : 9000);
      const std::uint64_t at = random_() % (capacity - length);
      if (i % 11 == 3) {
        ASSERT_OK(disk->zero(DiskOffset(at), length));
        model.write(at, std::vector<std::byte>(length));
      } else {
        const auto bytes = random_bytes(length);
        ASSERT_OK(disk->write(DiskOffset(at), bytes));
        model.write(at, bytes);
      }
      if (i % 40 == 0) {
        ASSERT_OK(disk->flush());
      }
    }
    expect_model(*disk, model);
    ASSERT_OK(disk->close());
    disk.reset();
    ASSERT_EQ(check("/vm/d.vmdk").exit_code(), 0) << findings_;
    ASSERT_EQ(free_sector("/vm/d-delta.vmdk") * kSectorSize, memory_.size("/vm/d-delta.vmdk"));
  }
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
  expect_model(*disk, model);
}

INSTANTIATE_TEST_SUITE_P(GrainSizes, CowdWriteTest,
                         testing::Values(WriteCase{512, false}, WriteCase{512, true},
                                         WriteCase{4096, true}, WriteCase{64 * 1024, false},
                                         WriteCase{1024 * 1024, true}),
                         [](const auto& one) {
                           return std::to_string(one.param.grain_size) +
                                  (one.param.with_parent ? "OverParent" : "Alone");
                         });

TEST_F(CowdTest, ADiscardFreesWithoutAParentAndIsRefusedOverOne) {
  CowdSpec spec;
  spec.capacity = 4 * kMiB;
  spec.grain_size = 4096;
  make_cowd("/vm/d.vmdk", spec);
  make_cowd("/vm/child.vmdk", spec, child_of("d.vmdk", 0x12345678, 0xCCCCCCC1));
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/child.vmdk"));
    ASSERT_OK(write(*disk, 0, "x"));
    EXPECT_THAT(disk->discard(DiskOffset(0), 4096), IsError(ErrorCode::kUnsupported));
    ASSERT_OK(disk->close());
  }
  options_.force_children = true;
  options_.batch_grains = 1;
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
    for (std::uint64_t at = 0; at < kMiB; at += 4096)
      ASSERT_OK(write(*disk, at, "data"));
    ASSERT_OK(disk->flush());
    const std::uint64_t full = memory_.size("/vm/d-delta.vmdk");
    ASSERT_OK(disk->discard(DiskOffset(0), kMiB));
    ASSERT_OK(disk->flush());
    for (std::uint64_t at = 0; at < kMiB; at += 4096)
      ASSERT_OK(disk->write(DiskOffset(2 * kMiB + at), filled(4096, 7)));
    ASSERT_OK(disk->close());
    EXPECT_LE(memory_.size("/vm/d-delta.vmdk"), full + 4096) << "freed grains are used again";
  }
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
  EXPECT_EQ(read(*disk, 0, 4), std::string(4, '\0'));
  EXPECT_EQ(check("/vm/d.vmdk").exit_code(), 0) << findings_;
}

TEST_F(CowdTest, IsNotWrittenWhereItIsOdd) {
  const std::vector<std::tuple<std::uint64_t, std::uint32_t, std::string>> cases = {
      {kCowdFlagsAt, 7, "flags 0x7 of its header are not known"},
      {kCowdGrainSizeAt, 3, "grains of 3 sectors"}};
  for (const auto& [at, value, message] : cases) {
    CowdSpec spec;
    spec.capacity = kMiB;
    spec.edit_header = [at = at, value = value](std::span<std::byte> bytes) {
      store_le32(bytes, at, value);
    };
    make_cowd("/vm/d.vmdk", spec);
    EXPECT_THAT(open("/vm/d.vmdk"), IsError(ErrorCode::kUnsupported));
    EXPECT_THAT(open("/vm/d.vmdk"), HasMessage(message));
    EXPECT_OK(open_readonly("/vm/d.vmdk"));
    ASSERT_OK(memory_.remove("/vm/d.vmdk"));
    ASSERT_OK(memory_.remove("/vm/d-delta.vmdk"));
  }
}

// The last sector that a free sector of 32 bits can name is the end of the file.
TEST_F(CowdTest, StopsAtTheEndOfItsSectors) {
  const std::uint64_t limit = (std::uint64_t{1} << 32U) - 1;
  CowdSpec spec;
  spec.capacity = 64 * kMiB;
  spec.grain_size = 4096;
  spec.grains = {{.index = 0, .entry = limit - 8 - 32 - 8}};
  make_cowd("/vm/d.vmdk", spec);
  {
    ASSERT_OK_AND_ASSIGN(auto file, memory_.open("/vm/d-delta.vmdk", Access::kReadWrite));
    ASSERT_OK(file->resize((limit - 8 - 32) * kSectorSize));
  }
  ASSERT_OK_AND_ASSIGN(auto disk, open("/vm/d.vmdk"));
  // Whole grains take unused space inside the file, parts of them and tables only fresh space.
  ASSERT_OK(write(*disk, 17 * kMiB, "its table and its grain just fit"));
  EXPECT_THAT(write(*disk, 33 * kMiB, "no table"), FailsWith(ENOSPC));
  ASSERT_OK(disk->write(DiskOffset(4096), filled(4096, 5)));
  ASSERT_OK(disk->flush());
  EXPECT_EQ(free_sector("/vm/d-delta.vmdk"), limit);
  ASSERT_OK(disk->close());
  disk.reset();
  EXPECT_EQ(check("/vm/d.vmdk").exit_code(), 0) << findings_;
  ASSERT_OK_AND_ASSIGN(const auto again, open_readonly("/vm/d.vmdk"));
  EXPECT_EQ(read(*again, 17 * kMiB, 9), "its table");
}

// A grain in the last sector that an entry can name: no free sector can lie behind it.
TEST_F(CowdTest, AGrainBehindWhichNoFreeSectorCanLie) {
  CowdSpec spec;
  spec.capacity = kMiB;
  spec.grains = {{.index = 0, .entry = 0xFFFFFFFF}};
  make_cowd("/vm/d.vmdk", spec);
  const std::uint64_t sectors = std::uint64_t{1} << 32U;
  {
    ASSERT_OK_AND_ASSIGN(auto file, memory_.open("/vm/d-delta.vmdk", Access::kReadWrite));
    ASSERT_OK(file->resize(sectors * kSectorSize));
    ASSERT_OK(write_text(*file, (sectors - 1) * kSectorSize, "last"));
  }
  const auto refused = open("/vm/d.vmdk");
  EXPECT_THAT(refused, IsError(ErrorCode::kUnsupported));
  EXPECT_THAT(refused, HasMessage("/vm/d-delta.vmdk: not opened for writing: its grains end at "
                                  "sector 4294967296, which its free sector cannot say"));
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
    EXPECT_EQ(read(*disk, 0, 4), "last");
  }
  const std::uint32_t before = free_sector("/vm/d-delta.vmdk");
  const CheckReport report = check("/vm/d.vmdk", true);
  EXPECT_EQ(report.exit_code(), 3);
  EXPECT_EQ(free_sector("/vm/d-delta.vmdk"), before);
  ASSERT_EQ(report.repairs.size(), 1U);
  EXPECT_NE(report.repairs[0].text.find("its free sector is left as it is"), std::string::npos);
}

// The file may end with the disk, or with its last grain; the free sector may lie at either end.
TEST_F(CowdTest, AShortLastGrainIsNoLeak) {
  const std::uint64_t whole_end = make_short_ended();
  const std::string delta = "/vm/d-delta.vmdk";
  const std::uint64_t short_end = memory_.size(delta);
  for (const std::uint64_t end : {short_end, whole_end}) {
    poke_entry(delta, kCowdFreeSectorAt, static_cast<std::uint32_t>(end / kSectorSize));
    EXPECT_EQ(check("/vm/d.vmdk").exit_code(), 0) << findings_;
  }
  for (const std::uint64_t end : {short_end - kSectorSize, whole_end + kSectorSize}) {
    poke_entry(delta, kCowdFreeSectorAt, static_cast<std::uint32_t>(end / kSectorSize));
    EXPECT_EQ(check("/vm/d.vmdk").exit_code(), 3);
    EXPECT_EQ(check("/vm/d.vmdk", true).exit_code(), 0);
    EXPECT_EQ(free_sector(delta) * kSectorSize, memory_.size(delta));
    EXPECT_EQ(memory_.size(delta), whole_end) << "the next grain lies behind a whole one";
    memory_.truncate(delta, short_end);
  }
}

// Who appends next does it at the free sector, and must not get into the last grain.
TEST_F(CowdTest, AShortLastGrainIsWholeAfterAWrite) {
  const std::uint64_t whole_end = make_short_ended();
  const std::string delta = "/vm/d-delta.vmdk";
  const std::uint64_t short_end = memory_.size(delta);
  poke_entry(delta, kCowdFreeSectorAt, static_cast<std::uint32_t>(short_end / kSectorSize));
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
    ASSERT_OK(disk->write(DiskOffset(kMiB), filled(kSectorSize, 'n')));
    ASSERT_OK(disk->close());
  }
  EXPECT_EQ(memory_.size(delta), whole_end);
  EXPECT_EQ(free_sector(delta) * kSectorSize, whole_end);
  EXPECT_EQ(check("/vm/d.vmdk").exit_code(), 0) << findings_;
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
                   {.index = kTable, .data = filled(1024, 3)}};
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
