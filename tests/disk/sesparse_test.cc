// SESparse snapshots through the whole engine.
#include <algorithm>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "disk_fixture.h"
#include "support/esx_builder.h"
#include "support/noise.h"
#include "support/reference_disk.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kGrain = 4 * kKiB;
constexpr std::uint64_t kCapacity = 40 * kMiB + 512;  // three tables

class SeSparseTest : public DiskFixture {
 protected:
  EsxGrain grain_of(std::uint64_t index, std::uint64_t grain_size = kGrain) {
    EsxGrain grain;
    grain.index = index;
    grain.data = letters(random_, std::min(grain_size, kCapacity - index * grain_size));
    model_.write(index * grain_size, grain.data);
    return grain;
  }

  SeSparseSpec some_grains(std::uint64_t grain_size = kGrain) {
    SeSparseSpec spec;
    spec.capacity = kCapacity;
    spec.grain_size = grain_size;
    const std::uint64_t last = kCapacity / grain_size;
    for (const std::uint64_t index :
         {last, std::uint64_t{0}, std::uint64_t{1}, last / 3, last / 2, last - 1})
      spec.grains.push_back(grain_of(index, grain_size));
    return spec;
  }

  BuiltSeSparse make_sesparse(const SeSparseSpec& spec, DescriptorSpec descriptor = {},
                              const std::filesystem::path& path = "/vm/d.vmdk") {
    auto built = build_sesparse_disk(memory_, path, spec, std::move(descriptor));
    EXPECT_OK(built);
    return built ? *built : BuiltSeSparse{};
  }

  void expect_model(Disk& disk) {
    std::vector<std::byte> bytes(disk.capacity());
    ASSERT_OK(disk.read(DiskOffset(0), bytes));
    EXPECT_EQ(model_.difference(0, bytes), std::nullopt);
  }

  CheckReport check() {
    auto report = check_image(memory_, "/vm/d.vmdk", {});
    EXPECT_OK(report);
    findings_.clear();
    for (const Finding& finding : report ? report->findings : std::vector<Finding>())
      findings_ += finding.text + "\n";
    return report ? *report : CheckReport{};
  }

  void remove_disk() {
    ASSERT_OK(memory_.remove("/vm/d.vmdk"));
    ASSERT_OK(memory_.remove("/vm/d-sesparse.vmdk"));
  }

  void poke_number(std::uint64_t at, std::uint64_t value) {
    std::array<std::byte, 8> bytes{};
    store_le64(bytes, 0, value);
    memory_.poke("/vm/d-sesparse.vmdk", at, bytes);
  }

  std::mt19937 random_{13};
  ReferenceDisk model_{kCapacity};
  std::string findings_;
};

TEST_F(SeSparseTest, IsRead) {
  for (const std::uint64_t grain_size : {4 * kKiB, 8 * kKiB, kMiB}) {
    model_ = ReferenceDisk(kCapacity);
    make_sesparse(some_grains(grain_size));
    ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
    EXPECT_EQ(disk->capacity(), kCapacity);
    EXPECT_EQ(disk->grain_size(), grain_size);
    expect_model(*disk);
    const ExtentInfo extent = disk->info().layers[0].extents[0];
    EXPECT_EQ(extent.type, "SESPARSE");
    EXPECT_EQ(extent.header_version, 2U);
    EXPECT_TRUE(extent.zeroed_grains);
    const CheckReport report = check();
    EXPECT_EQ(report.exit_code(), 0) << findings_;
    EXPECT_EQ(report.allocated_grains, 6U);
    remove_disk();
  }
}

// Numbers of 4096 and more have their low bits above the others.
TEST_F(SeSparseTest, GrainsAreFoundByBothPartsOfTheirNumber) {
  SeSparseSpec spec;
  spec.capacity = kCapacity;
  const std::vector<std::uint64_t> numbers = {0, 4095, 4096, 4097, 8191, 10239};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    EsxGrain grain = grain_of(i * 1000);
    grain.number = numbers[i];
    spec.grains.push_back(grain);
  }
  make_sesparse(spec);
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
  expect_model(*disk);
  EXPECT_EQ(check().exit_code(), 0) << findings_;
}

TEST_F(SeSparseTest, UnmappedAndZeroGrainsHideTheParent) {
  const std::string text(6 * kGrain, 'p');
  make_sparse("/vm/base.vmdk", {}, text, kCapacity);
  model_.write(0, bytes_of(text));
  SeSparseSpec spec;
  spec.capacity = kCapacity;
  spec.grains = {grain_of(0),
                 {.index = 2, .entry = kSeUnmappedEntry},
                 {.index = 3, .entry = kSeZeroEntry},
                 {.index = 4, .entry = kSeUnmappedEntry | 77}};
  for (const std::uint64_t hidden : {2U, 3U, 4U})
    model_.write(hidden * kGrain, std::vector<std::byte>(kGrain));
  make_sesparse(spec, child_of("base.vmdk"));
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
  expect_model(*disk);
  ASSERT_OK_AND_ASSIGN(const MapRun zeros, disk->map(DiskOffset(2 * kGrain), kMiB));
  EXPECT_EQ(zeros.kind, MapKind::kZero);
  EXPECT_EQ(zeros.length, 3 * kGrain);
}

TEST_F(SeSparseTest, IsABaseAndInTheMiddleToo) {
  make_sesparse(some_grains(), {}, "/vm/base.vmdk");
  SeSparseSpec middle;
  middle.capacity = kCapacity;
  middle.grains = {grain_of(1), grain_of(700), grain_of(5000)};
  make_sesparse(middle, child_of("base.vmdk", 0x12345678, 0xAAAAAAA1), "/vm/middle.vmdk");
  make_sparse("/vm/top.vmdk", child_of("middle.vmdk", 0xAAAAAAA1, 0xAAAAAAA2), {}, kCapacity);
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/top.vmdk"));
  expect_model(*disk);
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t at = random_() % (kCapacity - 20000);
    const auto bytes = filled(1 + random_() % 20000, static_cast<unsigned>('A' + i % 26));
    ASSERT_OK(disk->write(DiskOffset(at), bytes));
    model_.write(at, bytes);
  }
  expect_model(*disk);
  ASSERT_OK(disk->close());
}

TEST_F(SeSparseTest, IsNotOpenedForWriting) {
  make_sesparse(some_grains());
  EXPECT_THAT(open("/vm/d.vmdk"), IsError(ErrorCode::kUnsupported));
  EXPECT_THAT(open("/vm/d.vmdk"), HasMessage("SESparse extents are only read"));
  EXPECT_THAT(open("/vm/d.vmdk"), HasMessage("-r mounts it read-only"));
  EXPECT_THAT(open_readonly("/vm/d-sesparse.vmdk"),
              HasMessage("open the disk's descriptor: /vm/d.vmdk"));
}

TEST_F(SeSparseTest, ADirtyJournalIsRefusedUnlessForced) {
  SeSparseSpec spec = some_grains();
  spec.replay_journal = 1;
  make_sesparse(spec);
  EXPECT_THAT(open_readonly("/vm/d.vmdk"), IsError(ErrorCode::kUnsupported));
  EXPECT_THAT(open_readonly("/vm/d.vmdk"), HasMessage("its journal holds changes"));
  EXPECT_THAT(open_readonly("/vm/d.vmdk"), HasMessage("-r --force=journal"));
  EXPECT_EQ(check().exit_code(), 3);
  options_.force_journal = true;
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
  expect_model(*disk);
  EXPECT_NE(log_.find("what its journal holds is not shown"), std::string::npos);
  EXPECT_THAT(open("/vm/d.vmdk"), IsError(ErrorCode::kInvalidArgument));
}

TEST_F(SeSparseTest, HeadersThatCannotBeRight) {
  const std::vector<std::tuple<std::uint64_t, std::uint64_t, std::string>> cases = {
      {8, 0x0000000300000000, "version 0x300000000: only 2.1"},
      {16, 0, "capacity 0x0: nothing to serve"},
      {16, 100, "the header's capacity is 100 sectors"},
      {16, std::uint64_t{1} << 60U, "not below 2^54 sectors"},
      {16, std::uint64_t{1} << 40U, "too short for the"},
      {24, 0, "grainSize 0x0"},
      {24, 9, "grainSize 0x9"},
      {24, 4096, "grainSize 0x1000"},
      {32, 32, "grainTableSize 0x20: only 64 sectors are known"},
      {40, 1, "flags 0x1: none is known"},
      {56, 5, "reserved field 0x5"},
      {72, 5, "reserved field 0x5"},
      {80, std::uint64_t{1} << 55U, "volatileHeader 0x80000000000000: its offset"},
      {88, 0, "volatileHeader 0x0: it has no sectors"},
      {88, std::uint64_t{1} << 40U, "overlaps volatileHeader"},
      {128, 0, "grainDirectory 0x0: it would begin inside the header"},
      {128, std::uint64_t{1} << 50U, "end behind the end of the file"},
      {136, 0, "too short for the 3 tables"},
      {200, std::uint64_t{1} << 60U, "grains 0x1000000000000000: its size"},
      {300, 1, "bytes behind byte 208 are in use"}};
  for (const auto& [at, value, message] : cases) {
    SCOPED_TRACE(message);
    SeSparseSpec spec = some_grains();
    spec.edit_header = [at = at, value = value](std::span<std::byte> bytes) {
      store_le64(bytes, at, value);
    };
    make_sesparse(spec);
    EXPECT_THAT(open_readonly("/vm/d.vmdk"), HasMessage(message));
    remove_disk();
  }
}

// A file of very many bytes costs its maker nothing.
TEST_F(SeSparseTest, MemoryIsNotSizedByTheHeader) {
  SeSparseSpec spec = some_grains();
  spec.edit_header = [](std::span<std::byte> bytes) {
    store_le64(bytes, 16, std::uint64_t{1} << 50U);
    store_le64(bytes, 128, std::uint64_t{1} << 20U);
    store_le64(bytes, 136, std::uint64_t{1} << 30U);
    for (const std::size_t region : {144U, 160U, 176U, 192U})
      store_le64(bytes, region + 8, 0);
  };
  make_sesparse(spec);
  {
    ASSERT_OK_AND_ASSIGN(auto file, memory_.open("/vm/d-sesparse.vmdk", Access::kReadWrite));
    ASSERT_OK(file->resize(std::uint64_t{1} << 42U));
  }
  EXPECT_THAT(open_readonly("/vm/d.vmdk"), HasMessage("needs a grain directory of"));
  EXPECT_THAT(check_image(memory_, "/vm/d.vmdk", {}), IsError(ErrorCode::kUnsupported));
}

TEST_F(SeSparseTest, VolatileHeadersThatCannotBeRight) {
  for (const auto& [at, message] : {std::pair{0, "volatile magic 0x5: not 0xcafecafe"},
                                    std::pair{40, "bytes behind byte 32 are in use"}}) {
    SeSparseSpec spec = some_grains();
    spec.edit_volatile_header = [at = at](std::span<std::byte> bytes) {
      store_le64(bytes, static_cast<std::size_t>(at), 5);
    };
    make_sesparse(spec);
    EXPECT_THAT(open_readonly("/vm/d.vmdk"), HasMessage(message));
    remove_disk();
  }
}

TEST_F(SeSparseTest, DirectoryEntriesThatCannotBeRight) {
  const BuiltSeSparse built = make_sesparse(some_grains());
  const auto expect = [&](std::uint64_t entry, const std::string& message) {
    SCOPED_TRACE(message);
    poke_number(built.directory_entry_at(1), entry);
    EXPECT_THAT(open_readonly("/vm/d.vmdk"), HasMessage(message));
    EXPECT_EQ(check().exit_code(), 2);
  };
  expect(1, "is neither 0 nor the number of a table");
  expect(0x2000000000000001, "is neither 0 nor the number of a table");
  expect(0x1000000000000003, "lies behind the last table");
  expect(0x10000000FFFFFFFF, "lies behind the last table");
  expect(0x1000000000000000, "two entries of the directory name table number 0");
}

TEST_F(SeSparseTest, EntriesThatCannotBeRight) {
  const BuiltSeSparse built = make_sesparse(some_grains());
  const auto expect = [&](std::uint64_t entry, const std::string& message) {
    SCOPED_TRACE(message);
    poke_number(built.entry_at(1), entry);
    const CheckReport report = check();
    EXPECT_EQ(report.exit_code(), 2);
    EXPECT_EQ(report.damage_count, 1U);
    EXPECT_NE(findings_.find(message), std::string::npos) << findings_;
  };
  const auto expect_unreadable = [&] {
    ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
    std::vector<std::byte> bytes(kGrain);
    EXPECT_THAT(disk->read(DiskOffset(kGrain), bytes), FailsWith(EIO));
    EXPECT_OK(disk->read(DiskOffset(0), bytes));
  };
  for (const std::uint64_t bad : {std::uint64_t{7}, 0x4000000000000000U, 0xF000000000000000U,
                                  0x3000FFFFFFFFFFFFU, 0x3FFF000000000002U, 0x3064000000000000U}) {
    expect(bad, "is of no known kind, or points behind the end");
    expect_unreadable();
  }
  expect(0x3001000000000000, "is shared with another grain");
}

TEST_F(SeSparseTest, ACutFileIsNotZeros) {
  const BuiltSeSparse built = make_sesparse(some_grains());
  {
    ASSERT_OK_AND_ASSIGN(auto file, memory_.open("/vm/d-sesparse.vmdk", Access::kReadWrite));
    ASSERT_OK(file->resize(built.file_size - kGrain - 100));
  }
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
  std::vector<std::byte> bytes(kGrain);
  EXPECT_THAT(disk->read(DiskOffset((kCapacity / kGrain - 1) * kGrain), bytes), FailsWith(EIO));
  EXPECT_THAT(disk->read(DiskOffset(kCapacity / kGrain / 2 * kGrain), bytes), FailsWith(EIO));
  EXPECT_EQ(check().exit_code(), 2);
}

}  // namespace
}  // namespace vmdk::test
