// Truncation and the end of the disk, as on a block device, in every cache mode.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <tuple>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

// Should the mount not be there, an endless writer must not fill the host's disk.
const std::string kGuard = "ulimit -f 2097152; ";

// The cache mode, and whether the disk is mounted on a file or on a folder.
class DiskEndTest : public MountTest,
                    public ::testing::WithParamInterface<std::tuple<const char*, bool>> {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped())
      return;
    create();
    make_reference("ref");
    const std::string options = std::string("--cache=") + std::get<0>(GetParam());
    if (std::get<1>(GetParam()))
      mount_on_folder(options);
    else
      mount(options);
  }

  std::string flat() const { return std::get<1>(GetParam()) ? "dir/flat" : "flat"; }

  void expect_full_size() const {
    EXPECT_TRUE(eventually([this] { return size_of(path(flat())) == kDiskSize; }))
        << size_of(path(flat()));
  }

  void expect_same_as_reference() const { EXPECT_EQ(shell_status("cmp ref " + flat()), 0); }

  void unmount_and_compare() {
    unmount(std::get<1>(GetParam()) ? "dir" : "flat");
    if (std::get<1>(GetParam()))
      mount_on_folder("-r");
    else
      mount("-r");
    expect_same_as_reference();
  }
};

TEST_P(DiskEndTest, SizeIsRightBeforeTheFirstOpen) {
  EXPECT_EQ(size_of(path(flat())), kDiskSize);
}

TEST_P(DiskEndTest, DdWithAndWithoutNotruncWritesTheDisk) {
  EXPECT_TRUE(shell("dd if=ref of=" + flat() + " bs=64k"));
  expect_full_size();
  expect_same_as_reference();
  EXPECT_TRUE(shell("dd if=ref of=" + flat() + " bs=1M conv=notrunc,fsync"));
  expect_same_as_reference();
  unmount_and_compare();
}

TEST_P(DiskEndTest, DdWithSeekChangesOnlyItsBlocks) {
  ASSERT_TRUE(shell("cp ref " + flat()));
  ASSERT_TRUE(shell("dd if=/dev/zero of=" + flat() + " bs=512 seek=63 count=2"));
  expect_full_size();
  ASSERT_TRUE(shell("dd if=/dev/zero of=ref bs=512 seek=63 count=2 conv=notrunc"));
  expect_same_as_reference();
  unmount_and_compare();
}

TEST_P(DiskEndTest, CopyAndRedirectionReplaceTheContent) {
  ASSERT_TRUE(shell("cp ref " + flat()));
  expect_same_as_reference();
  ASSERT_TRUE(shell("cat ref > " + flat()));
  expect_same_as_reference();
  unmount_and_compare();
}

TEST_P(DiskEndTest, EmptyRedirectionChangesNothing) {
  ASSERT_TRUE(shell("cp ref " + flat()));
  ASSERT_TRUE(shell("> " + flat()));
  expect_full_size();
  expect_same_as_reference();
  unmount_and_compare();
}

TEST_P(DiskEndTest, TruncationSucceedsAndGrowthIsRefused) {
  ASSERT_TRUE(shell("cp ref " + flat()));
  EXPECT_EQ(truncate(path(flat()).c_str(), 4096), 0);
  EXPECT_EQ(truncate(path(flat()).c_str(), 0), 0);
  EXPECT_EQ(truncate(path(flat()).c_str(), kDiskSize), 0);
  EXPECT_EQ(truncate(path(flat()).c_str(), kDiskSize + 1), -1);
  EXPECT_EQ(errno, EFBIG);
  EXPECT_EQ(size_of(path(flat())), kDiskSize);
  expect_same_as_reference();
}

TEST_P(DiskEndTest, EndlessDdStopsWithNoSpace) {
  const CommandResult result =
      in_folder(kGuard + "tr '\\0' x < /dev/zero | dd of=" + flat() + " bs=64k");
  EXPECT_NE(result.status, 0);
  EXPECT_NE(result.err.find("No space left on device"), std::string::npos) << result.to_text();
  expect_full_size();
  EXPECT_TRUE(shell("head -c " + std::to_string(kDiskSize) + " /dev/zero | tr '\\0' x > ref"));
  expect_same_as_reference();
  unmount_and_compare();
}

TEST_P(DiskEndTest, EndlessCatStopsWithNoSpace) {
  EXPECT_NE(shell_status(kGuard + "tr '\\0' y < /dev/zero 2>/dev/null | cat > " + flat()), 0);
  expect_full_size();
  EXPECT_TRUE(shell("head -c " + std::to_string(kDiskSize) + " /dev/zero | tr '\\0' y > ref"));
  expect_same_as_reference();
  unmount_and_compare();
}

TEST_P(DiskEndTest, AppendingFailsAndChangesNothing) {
  ASSERT_TRUE(shell("cp ref " + flat()));
  EXPECT_NE(shell_status("cat ref >> " + flat()), 0);
  expect_full_size();
  expect_same_as_reference();
  unmount_and_compare();
}

TEST_P(DiskEndTest, WriteAcrossTheEndStoresThePartInside) {
  ASSERT_TRUE(shell("cp ref " + flat()));
  const int file = open(path(flat()).c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(file, 0);
  const std::string text(8192, 'e');
  const ssize_t written = pwrite(file, text.data(), text.size(), kDiskSize - 4096);
  const bool refused = written < static_cast<ssize_t>(text.size()) || fsync(file) != 0;
  close(file);
  EXPECT_TRUE(refused);
  expect_full_size();
  ASSERT_TRUE(
      shell("head -c 4096 /dev/zero | tr '\\0' e | dd of=ref bs=4096 seek=2047 conv=notrunc"));
  expect_same_as_reference();
  unmount_and_compare();
}

TEST_P(DiskEndTest, SeekingToTheEndDuringARefusalDoesNotHang) {
  const int file = open(path(flat()).c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(file, 0);
  const std::string text(1 << 20, 'e');
  for (int round = 0; round < 20; ++round) {
    // Either may be the one that hears of the refusal.
    if (pwrite(file, text.data(), text.size(), static_cast<off_t>(kDiskSize)) > 0)
      sync_file_range(file, 0, 0, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    lseek(file, 0, SEEK_END);
  }
  close(file);
  expect_full_size();
}

TEST_P(DiskEndTest, WritingAfterAnEndlessWriterWorks) {
  EXPECT_NE(shell_status(kGuard + "cat /dev/zero > " + flat()), 0);
  expect_full_size();
  ASSERT_TRUE(shell("dd if=ref of=" + flat() + " bs=1M conv=notrunc,fsync"));
  expect_same_as_reference();
  unmount_and_compare();
}

// A loop device, say, holds the disk open: what another runs into is not told to it.
TEST_P(DiskEndTest, WhoHoldsTheDiskHearsNothingOfAnothersOverrun) {
  ASSERT_TRUE(shell("cp ref " + flat()));
  const int innocent = open(path(flat()).c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(innocent, 0);
  const std::string text(4096, 'i');
  for (const std::string& overrun :
       {"cat ref >> " + flat(), "dd if=ref of=" + flat() + " bs=1M seek=64 conv=notrunc",
        "dd if=ref of=" + flat() + " bs=1M seek=64 conv=notrunc,fsync", "cat ref ref > " + flat(),
        "cat ref ref | dd of=" + flat() + " bs=1M conv=notrunc"}) {
    SCOPED_TRACE(overrun);
    EXPECT_NE(shell_status(overrun), 0);
    EXPECT_EQ(pwrite(innocent, text.data(), text.size(), 8192), 4096) << std::strerror(errno);
    EXPECT_EQ(fsync(innocent), 0) << std::strerror(errno);
  }
  close(innocent);
  expect_full_size();
  ASSERT_TRUE(shell("head -c 4096 /dev/zero | tr '\\0' i | dd of=ref bs=4096 seek=2 conv=notrunc"));
  expect_same_as_reference();
  unmount_and_compare();
}

// The kernel writes back by the handle that was opened last, not by that of who wrote.
TEST_P(DiskEndTest, AnEndlessWriterStopsThoughAnotherHasOpenedTheDiskSince) {
  const int writer = open(path(flat()).c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(writer, 0);
  const int later = open(path(flat()).c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(later, 0);
  const std::string text(1 << 20, 'w');
  ssize_t written = 0;
  // More than the page cache keeps back.
  for (std::uint64_t sum = 0; written >= 0 && sum < 4 * vmdk::kGiB; sum += text.size())
    written = write(writer, text.data(), text.size());
  EXPECT_LT(written, 0);
  EXPECT_EQ(errno, ENOSPC);
  close(later);
  close(writer);
  expect_full_size();
}

// After the error was told, by whatever call, the next write is like any other.
TEST_P(DiskEndTest, AnOverrunIsToldOnce) {
  ASSERT_TRUE(shell("cp ref " + flat()));
  const int file = open(path(flat()).c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(file, 0);
  const std::string text(4096, 'o');
  const ssize_t written = pwrite(file, text.data(), text.size(), kDiskSize);
  EXPECT_TRUE(written < 0 || fsync(file) != 0);
  EXPECT_EQ(pwrite(file, text.data(), text.size(), 0), 4096) << std::strerror(errno);
  EXPECT_EQ(fsync(file), 0) << std::strerror(errno);
  EXPECT_EQ(close(file), 0);
  expect_full_size();
  ASSERT_TRUE(shell("head -c 4096 /dev/zero | tr '\\0' o | dd of=ref conv=notrunc"));
  expect_same_as_reference();
  unmount_and_compare();
}

// The kernel has the file locked while it hears of the overrun by fsync; the size is set behind it.
TEST_P(DiskEndTest, AfterARefusedSyncTheCloseLeavesTheTrueSize) {
  constexpr int kRounds = 40;
  const std::string text(1 << 20, 's');
  int wrong = 0;
  for (int round = 0; round < kRounds; ++round) {
    const int file = open(path(flat()).c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_GE(file, 0);
    const ssize_t written =
        pwrite(file, text.data(), text.size(), static_cast<off_t>(kDiskSize - text.size() / 2));
    EXPECT_TRUE(written < static_cast<ssize_t>(text.size()) || fsync(file) != 0);
    close(file);
    wrong += size_of(path(flat())) == kDiskSize ? 0 : 1;
  }
  // It is waited for, but not for ever: a machine may be busy.
  EXPECT_LE(wrong, 2) << "of " << kRounds;
}

std::string name_of(const ::testing::TestParamInfo<std::tuple<const char*, bool>>& info) {
  return std::string(std::get<0>(info.param)) + (std::get<1>(info.param) ? "_folder" : "_file");
}

INSTANTIATE_TEST_SUITE_P(CacheModes, DiskEndTest,
                         ::testing::Combine(::testing::Values("writeback", "writethrough", "none"),
                                            ::testing::Bool()),
                         name_of);

}  // namespace
}  // namespace vmdkfuse::test
