#include "support/memory_file_system.h"

#include <cerrno>
#include <thread>

#include <gtest/gtest.h>

#include "support/file_helpers.h"
#include "support/matchers.h"

namespace vmdk::test {
namespace {

using Kind = FileSystem::Kind;

TEST(MemoryFileSystemTest, WhatWasWrittenIsReadThroughAnotherHandle) {
  MemoryFileSystem fs;
  ASSERT_OK_AND_ASSIGN(auto first, fs.create("/dir/a"));
  ASSERT_OK(write_text(*first, 4094, "across"));
  ASSERT_OK_AND_ASSIGN(auto second, fs.open("/dir/./b/../a", Access::kReadOnly));
  EXPECT_EQ(first->id(), second->id());
  ASSERT_OK_AND_ASSIGN(const std::string text, read_text(*second, 4094, 100));
  EXPECT_EQ(text, "across");
  ASSERT_OK_AND_ASSIGN(const auto hole, read_bytes(*second, 0, 4094));
  EXPECT_TRUE(all_zero(hole));
  ASSERT_OK_AND_ASSIGN(const auto behind, read_bytes(*second, 4100, 1));
  EXPECT_TRUE(behind.empty());
}

TEST(MemoryFileSystemTest, PartsAreWrittenOneBehindTheOther) {
  MemoryFileSystem fs;
  ASSERT_OK_AND_ASSIGN(auto file, fs.create("a"));
  const std::array<iovec, 3> parts = {part_of(bytes_of("one")), part_of(bytes_of("")),
                                      part_of(bytes_of("two"))};
  ASSERT_OK(file->write(FileOffset(1), parts));
  EXPECT_EQ(fs.text("a"), std::string("\0onetwo", 7));
}

TEST(MemoryFileSystemTest, HugeSparseFileCostsLittleAndKnowsItsHoles) {
  MemoryFileSystem fs;
  ASSERT_OK_AND_ASSIGN(auto file, fs.create("big"));
  constexpr std::uint64_t kTwoTiB = 2048 * kGiB;
  ASSERT_OK(file->grow(kTwoTiB));
  ASSERT_OK(write_text(*file, kTwoTiB - 1, "x"));
  ASSERT_OK(write_text(*file, 3 * kMiB + 5, "y"));
  EXPECT_EQ(*file->size(), kTwoTiB);
  EXPECT_EQ(*file->allocated(), 2 * 4 * kKiB);
  EXPECT_EQ(*file->next_data(FileOffset(0)), FileOffset(3 * kMiB));
  EXPECT_EQ(*file->next_data(FileOffset(3 * kMiB + 7)), FileOffset(3 * kMiB + 7));
  EXPECT_EQ(*file->next_hole(FileOffset(3 * kMiB + 7)), FileOffset(3 * kMiB + 4 * kKiB));
  EXPECT_EQ(*file->next_data(FileOffset(4 * kMiB)), FileOffset(kTwoTiB - 4 * kKiB));
  EXPECT_EQ(*file->next_hole(FileOffset(kTwoTiB - 1)), FileOffset(kTwoTiB));
  EXPECT_EQ(*file->next_data(FileOffset(kTwoTiB)), std::nullopt);
}

TEST(MemoryFileSystemTest, GrowNeverShortensAndResizeDoes) {
  MemoryFileSystem fs;
  fs.put("a", "0123456789");
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  ASSERT_OK(file->grow(4));
  EXPECT_EQ(fs.text("a"), "0123456789");
  ASSERT_OK(file->resize(4));
  ASSERT_OK(file->grow(6));
  EXPECT_EQ(fs.text("a"), std::string("0123\0\0", 6));
}

TEST(MemoryFileSystemTest, CutAcrossManyChunksLeavesZerosWhenGrownAgain) {
  MemoryFileSystem fs;
  fs.put("a", filled(3 * kMiB, 7));
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  ASSERT_OK(file->resize(kMiB + 5000));
  EXPECT_EQ(*file->allocated(), kMiB + 8 * kKiB);
  ASSERT_OK(file->resize(3 * kMiB));
  EXPECT_EQ(fs.bytes("a", kMiB, 5000), filled(5000, 7));
  EXPECT_TRUE(all_zero(fs.bytes("a", kMiB + 5000, 2 * kMiB - 5000)));
}

TEST(MemoryFileSystemTest, PunchedRangeReadsZeroAndGivesItsChunksBack) {
  MemoryFileSystem fs;
  fs.put("a", filled(16 * kKiB, 9));
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  ASSERT_OK(file->punch_hole(FileOffset(100), 8 * kKiB));
  EXPECT_TRUE(all_zero(fs.bytes("a", 100, 8 * kKiB)));
  EXPECT_EQ(fs.bytes("a", 0, 100), filled(100, 9));
  EXPECT_EQ(fs.bytes("a", 100 + 8 * kKiB, 100), filled(100, 9));
  EXPECT_EQ(*file->allocated(), 12 * kKiB);
  ASSERT_OK(file->punch_hole(FileOffset(12 * kKiB), kMiB));
  EXPECT_EQ(fs.size("a"), 16 * kKiB);
}

TEST(MemoryFileSystemTest, ReadOnlyHandleRefusesEveryChange) {
  MemoryFileSystem fs;
  fs.put("a", "text");
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadOnly));
  EXPECT_THAT(write_text(*file, 0, "x"), FailsWith(EBADF));
  EXPECT_THAT(file->grow(100), FailsWith(EBADF));
  EXPECT_THAT(file->resize(0), FailsWith(EBADF));
  EXPECT_THAT(file->punch_hole(FileOffset(0), 4), FailsWith(EBADF));
  EXPECT_EQ(fs.text("a"), "text");
}

TEST(MemoryFileSystemTest, MissingExistingAndForbiddenFilesAreRefusedAsByTheSystem) {
  MemoryFileSystem fs;
  fs.put("dir/a", "text");
  EXPECT_THAT(fs.open("b", Access::kReadOnly), IsError(ErrorCode::kNotFound));
  EXPECT_THAT(fs.open("dir", Access::kReadOnly), IsError(ErrorCode::kUnsupported));
  EXPECT_THAT(fs.create("dir/a"), FailsWith(EEXIST));
  EXPECT_THAT(fs.remove("dir/b"), FailsWith(ENOENT));
  fs.set_permissions("dir/a", 0444);
  EXPECT_THAT(fs.open("dir/a", Access::kReadWrite), FailsWith(EACCES));
  EXPECT_OK(fs.open("dir/a", Access::kReadOnly));
}

TEST(MemoryFileSystemTest, OpenBeneathNeverLeavesItsDirectory) {
  MemoryFileSystem fs;
  fs.put("/vm/disk.vmdk", "inside");
  fs.put("/secret", "outside");
  EXPECT_OK(fs.open_beneath("/vm", "disk.vmdk", Access::kReadOnly));
  EXPECT_OK(fs.open_beneath("/vm", "sub/../disk.vmdk", Access::kReadOnly));
  EXPECT_THAT(fs.open_beneath("/vm", "/vm/disk.vmdk", Access::kReadOnly),
              IsError(ErrorCode::kDenied));
  EXPECT_THAT(fs.open_beneath("/vm", "../secret", Access::kReadOnly), IsError(ErrorCode::kDenied));
  EXPECT_THAT(fs.open_beneath("/vm", "a/../../secret", Access::kReadOnly),
              IsError(ErrorCode::kDenied));
}

TEST(MemoryFileSystemTest, DirectoriesFollowFromPaths) {
  MemoryFileSystem fs;
  fs.put("/vm/disk.vmdk", "");
  fs.put("/vm/sub/more.vmdk", "");
  fs.make_directory("/vm/disk.vmdk.lck");
  EXPECT_EQ(fs.kind("/vm/"), Kind::kDirectory);
  EXPECT_EQ(fs.kind("/vm/disk.vmdk"), Kind::kFile);
  EXPECT_EQ(fs.kind("/vm/disk.vmdk.lck"), Kind::kDirectory);
  EXPECT_EQ(fs.kind("/v"), Kind::kNothing);
  EXPECT_THAT(*fs.list("/vm"),
              ::testing::UnorderedElementsAre("disk.vmdk", "sub", "disk.vmdk.lck"));
  EXPECT_THAT(fs.list("/nowhere"), FailsWith(ENOENT));
  ASSERT_OK(fs.remove("/vm/sub/more.vmdk"));
  EXPECT_EQ(fs.kind("/vm/sub"), Kind::kNothing);
}

TEST(MemoryFileSystemTest, RelativeNamesAreListedInTheWorkingDirectory) {
  MemoryFileSystem fs;
  fs.put("a.vmdk", "");
  fs.put("/b.vmdk", "");
  EXPECT_THAT(*fs.list("."), ::testing::ElementsAre("a.vmdk"));
  EXPECT_THAT(*fs.list(""), ::testing::ElementsAre("a.vmdk"));
  EXPECT_THAT(*fs.list("/"), ::testing::ElementsAre("b.vmdk"));
}

TEST(MemoryFileSystemTest, RemovedFileLivesOnInItsHandles) {
  MemoryFileSystem fs;
  fs.put("a", "text");
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadOnly));
  ASSERT_OK(fs.remove("a"));
  EXPECT_FALSE(fs.exists("a"));
  EXPECT_EQ(*read_text(*file, 0, 10), "text");
}

struct LockCase {
  LockMode held;
  LockMode wanted;
  bool granted;
};

class MemoryLockTest : public ::testing::TestWithParam<LockCase> {};

TEST_P(MemoryLockTest, MatrixHolds) {
  MemoryFileSystem fs;
  fs.put("a", "text");
  ASSERT_OK_AND_ASSIGN(auto holder, fs.open("a", Access::kReadWrite));
  ASSERT_OK_AND_ASSIGN(auto other, fs.open("a", Access::kReadWrite));
  ASSERT_OK(holder->lock(GetParam().held));
  if (GetParam().granted) {
    EXPECT_OK(other->lock(GetParam().wanted));
  } else {
    EXPECT_THAT(other->lock(GetParam().wanted), IsError(ErrorCode::kBusy));
    holder.reset();
    EXPECT_OK(other->lock(GetParam().wanted));
  }
}

constexpr auto kRead = LockMode::kRead;
constexpr auto kBeside = LockMode::kReadBesideWriter;
constexpr auto kWrite = LockMode::kWrite;
INSTANTIATE_TEST_SUITE_P(
    All, MemoryLockTest,
    ::testing::Values(LockCase{kRead, kRead, true}, LockCase{kRead, kBeside, true},
                      LockCase{kRead, kWrite, false}, LockCase{kBeside, kRead, true},
                      LockCase{kBeside, kBeside, true}, LockCase{kBeside, kWrite, true},
                      LockCase{kWrite, kRead, false}, LockCase{kWrite, kBeside, true},
                      LockCase{kWrite, kWrite, false}));

TEST(MemoryFileSystemTest, CloneSharesNothingThatCanBeSeen) {
  MemoryFileSystem fs;
  fs.put("a", filled(2 * kMiB, 1));
  ASSERT_OK_AND_ASSIGN(auto file, fs.open("a", Access::kReadWrite));
  ASSERT_OK(file->lock(LockMode::kWrite));
  const auto copy = fs.clone();
  const auto second_copy = copy->clone();
  ASSERT_OK(write_text(*file, 5000, "original"));
  copy->poke("a", 5000, bytes_of("the copy"));
  copy->truncate("a", kMiB);
  EXPECT_EQ(fs.size("a"), 2 * kMiB);
  EXPECT_EQ(*read_text(*file, 5000, 8), "original");
  EXPECT_EQ(second_copy->contents("a"), filled(2 * kMiB, 1));
  ASSERT_OK_AND_ASSIGN(auto copied, copy->open("a", Access::kReadWrite));
  EXPECT_EQ(*read_text(*copied, 5000, 8), "the copy");
  EXPECT_OK(copied->lock(LockMode::kWrite));
}

TEST(MemoryFileSystemTest, FlippedBitFlipsBack) {
  MemoryFileSystem fs;
  fs.put("a", "AB");
  fs.flip_bit("a", 9);
  EXPECT_EQ(fs.text("a"), "A@");
  fs.flip_bit("a", 9);
  EXPECT_EQ(fs.text("a"), "AB");
  EXPECT_THROW(fs.flip_bit("a", 16), std::out_of_range);
}

TEST(MemoryFileSystemTest, ManyThreadsWriteAtOnceAlsoTheSameBytes) {
  MemoryFileSystem fs;
  ASSERT_OK_AND_ASSIGN(auto file, fs.create("a"));
  std::vector<std::thread> threads;
  for (unsigned number = 0; number < 4; ++number) {
    threads.emplace_back([&file, number] {
      const auto own = filled(3000, number + 1);
      for (std::uint64_t round = 0; round < 50; ++round) {
        EXPECT_OK(write_bytes(*file, 3000 * (1 + number + 4 * round), own));
        EXPECT_OK(write_bytes(*file, 0, own));
        EXPECT_OK(read_bytes(*file, 0, 3000));
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  for (unsigned place = 0; place < 200; ++place)
    EXPECT_EQ(fs.bytes("a", 3000 * (1 + std::uint64_t{place}), 3000), filled(3000, place % 4 + 1));
  const auto shared = fs.bytes("a", 0, 3000);
  EXPECT_EQ(shared, filled(3000, std::to_integer<unsigned>(shared[0])));
}

}  // namespace
}  // namespace vmdk::test
