// Writes to ESX deltas (COWD), and the free sector that they leave.
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "cowd_fixture.h"

namespace vmdk::test {
namespace {

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
  spec.grains = {{.index = 0, .entry = limit - 32 - 8}};
  make_cowd("/vm/d.vmdk", spec);
  {
    ASSERT_OK_AND_ASSIGN(auto file, memory_.open("/vm/d-delta.vmdk", Access::kReadWrite));
    ASSERT_OK(file->resize((limit - 32) * kSectorSize));
  }
  ASSERT_OK_AND_ASSIGN(auto disk, open("/vm/d.vmdk"));
  // Grains take the unused space inside the file, of which there is plenty; tables only fresh
  // space.
  ASSERT_OK(write(*disk, 17 * kMiB, "its table just fits"));
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

}  // namespace
}  // namespace vmdk::test
