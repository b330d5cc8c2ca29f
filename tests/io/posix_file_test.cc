// PosixFile against the file system that holds the temporary folder.
#include "io/posix_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <climits>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/wait_watch.h"
#include "io/posix_file_system.h"
#include "system_calls.h"
#include "temp_folder.h"

namespace vmdk {
namespace {

class PosixFileTest : public testing::Test {
 protected:
  // A new file, open for reading and writing.
  std::unique_ptr<File> create(std::string_view content = {}) {
    auto file = system_.create(folder_ / "disk.vmdk");
    if (!file) {
      ADD_FAILURE() << file.error().message();
      return nullptr;
    }
    if (const auto status = write_text(**file, 0, content); !status)
      ADD_FAILURE() << status.error().message();
    return std::move(*file);
  }

  std::string message(std::string_view what) const {
    return (folder_ / "disk.vmdk").string() + ": " + std::string(what);
  }

  TempFolder folder_;
  PosixFileSystem system_;
  system_calls::Guard calls_;
};

using system_calls::plan;

struct CountWaits final : WaitListener {
  void about_to_wait() noexcept override { ++count; }

  int count = 0;
};

TEST_F(PosixFileTest, ReadFromThePageCacheDoesNotWait) {
  const auto file = create("0123456789");

  struct statfs host {};

  ASSERT_EQ(::statfs((folder_ / "disk.vmdk").c_str(), &host), 0);
  if (host.f_type == TMPFS_MAGIC)
    GTEST_SKIP() << "the temporary folder is a tmpfs, which has no reads that do not wait";
  std::string buffer(4, '-');
  const auto into = std::as_writable_bytes(std::span(buffer));
  CountWaits waits;
  const WaitWatch watch(waits);
  EXPECT_EQ(file->read(FileOffset(3), into).value(), 4U);
  EXPECT_EQ(buffer, "3456");
  EXPECT_EQ(waits.count, 0);
  EXPECT_EQ(plan().quick_reads, 1);
  EXPECT_EQ(plan().reads, 0);
}

TEST_F(PosixFileTest, ReadTellsOnceThatItWaits) {
  const auto file = create("0123456789");
  std::string buffer(4, '-');
  const auto into = std::as_writable_bytes(std::span(buffer));
  for (const int error : {EAGAIN, EOPNOTSUPP}) {
    plan().quick_read_error = error;
    plan().quick_reads = 0;
    plan().reads = 0;
    CountWaits waits;
    const WaitWatch watch(waits);
    for (const std::uint64_t at : {3U, 4U}) {
      EXPECT_EQ(file->read(FileOffset(at), into).value(), 4U);
      EXPECT_EQ(buffer, std::string("0123456789").substr(at, 4));
    }
    EXPECT_EQ(waits.count, 1);
    EXPECT_EQ(plan().quick_reads, 1);
    EXPECT_EQ(plan().reads, 2);
  }
}

TEST_F(PosixFileTest, TheEndOfTheFileIsReadPlainly) {
  const auto file = create("0123456789");
  std::string buffer(4, '-');
  const auto into = std::as_writable_bytes(std::span(buffer));
  CountWaits waits;
  const WaitWatch watch(waits);
  EXPECT_EQ(file->read(FileOffset(8), into).value(), 2U);
  EXPECT_EQ(buffer, "89--");
  EXPECT_EQ(file->read(FileOffset(10), into).value(), 0U);
}

TEST_F(PosixFileTest, ReadFillsTheBufferAndIsShortOnlyAtTheEnd) {
  const auto file = create("0123456789");
  std::string buffer(4, '-');
  const auto into = std::as_writable_bytes(std::span(buffer));
  EXPECT_EQ(file->read(FileOffset(3), into).value(), 4U);
  EXPECT_EQ(buffer, "3456");
  EXPECT_EQ(file->read(FileOffset(8), into).value(), 2U);
  EXPECT_EQ(buffer, "8956");
  EXPECT_EQ(file->read(FileOffset(10), into).value(), 0U);
  EXPECT_EQ(file->read(FileOffset(1 * kGiB), into).value(), 0U);
}

TEST_F(PosixFileTest, ReadGoesOnAfterShortAndInterruptedCalls) {
  const auto file = create("0123456789");
  plan().most_bytes = 3;
  plan().interruptions = 2;
  std::string buffer(9, '-');
  EXPECT_EQ(file->read(FileOffset(0), std::as_writable_bytes(std::span(buffer))).value(), 9U);
  EXPECT_EQ(buffer, "012345678");
  EXPECT_EQ(plan().reads, 5);
}

TEST_F(PosixFileTest, ReadKeepsTheErrnoAndNamesTheFile) {
  const auto file = create("0123456789");
  plan().read_error = EUCLEAN;
  std::byte buffer{};
  const auto got = file->read(FileOffset(0), std::span(&buffer, 1));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().errno_value(), EUCLEAN);
  EXPECT_EQ(got.error().code(), ErrorCode::kIo);
  EXPECT_EQ(got.error().message(), message("Structure needs cleaning"));
}

TEST_F(PosixFileTest, WritePutsThePartsOneBehindTheOtherInOneCall) {
  const auto file = create();
  const std::vector<iovec> parts{part_of(bytes_of("")), part_of(bytes_of("grain ")),
                                 part_of(bytes_of("")), part_of(bytes_of("table")),
                                 part_of(bytes_of(""))};
  ASSERT_TRUE(file->write(FileOffset(2), parts));
  EXPECT_EQ(plan().writes, 1);
  EXPECT_EQ(text_of(*file), std::string("\0\0grain table", 13));
}

TEST_F(PosixFileTest, WriteOfNothingMakesNoCall) {
  const auto file = create();
  const iovec nothing = part_of(bytes_of(""));
  EXPECT_TRUE(file->write(FileOffset(7), {}));
  EXPECT_TRUE(file->write(FileOffset(7), std::span(&nothing, 1)));
  EXPECT_EQ(plan().writes, 0);
  EXPECT_EQ(file->size().value(), 0U);
}

TEST_F(PosixFileTest, WriteTakesMorePartsThanOneCallMay) {
  const auto file = create();
  std::vector<std::string> pieces;
  std::string whole;
  for (int i = 0; i < 2 * IOV_MAX + 5; ++i) {
    pieces.push_back(std::to_string(i) + ",");
    whole += pieces.back();
  }
  std::vector<iovec> parts;
  for (const auto& piece : pieces)
    parts.push_back(part_of(bytes_of(piece)));
  ASSERT_TRUE(file->write(FileOffset(0), parts));
  EXPECT_EQ(plan().writes, 3);
  EXPECT_EQ(text_of(*file), whole);
}

TEST_F(PosixFileTest, WriteGoesOnAfterShortAndInterruptedCalls) {
  const std::string first = "abcde";
  const std::string second = "fghijklmnop";
  const std::vector<iovec> parts{part_of(bytes_of(first)), part_of(bytes_of("")),
                                 part_of(bytes_of(second)), part_of(bytes_of("q"))};
  const auto file = create();
  for (std::size_t most = 1; most <= 18; ++most) {
    ASSERT_TRUE(file->resize(0));
    plan().most_bytes = most;
    plan().interruptions = 2;
    ASSERT_TRUE(file->write(FileOffset(0), parts));
    EXPECT_EQ(text_of(*file), "abcdefghijklmnopq") << most;
    EXPECT_EQ(plan().interruptions, 0);
  }
}

TEST_F(PosixFileTest, WriteThatMakesNoProgressIsAnInputOutputError) {
  const auto file = create();
  plan().writes_do_nothing = true;
  const auto status = write_text(*file, 0, "x");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().errno_value(), EIO);
  EXPECT_EQ(status.error().message(), message("Input/output error"));
}

TEST_F(PosixFileTest, WriteKeepsTheErrno) {
  const auto file = create();
  plan().write_error = ENOSPC;
  const auto status = write_text(*file, 0, "x");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().errno_value(), ENOSPC);
  EXPECT_EQ(status.error().code(), ErrorCode::kNoSpace);
  EXPECT_EQ(status.error().message(), message("No space left on device"));
}

TEST_F(PosixFileTest, WriteToAFileOpenForReadingIsRefused) {
  create("before");
  const auto file = system_.open(folder_ / "disk.vmdk", Access::kReadOnly);
  ASSERT_TRUE(file);
  const auto status = write_text(**file, 0, "after");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().errno_value(), EBADF);
  EXPECT_EQ(text_of(folder_ / "disk.vmdk"), "before");
}

TEST_F(PosixFileTest, PositionsBeyondWhatTheSystemCanCountAreRefused) {
  const auto file = create("x");
  std::byte buffer{};
  EXPECT_FALSE(file->read(FileOffset(UINT64_MAX - 8), std::span(&buffer, 1)));
  EXPECT_FALSE(write_text(*file, UINT64_MAX - 8, "y"));
  EXPECT_FALSE(file->grow(UINT64_MAX));
  EXPECT_FALSE(file->resize(UINT64_MAX));
  EXPECT_FALSE(file->punch_hole(FileOffset(UINT64_MAX - 8), 4));
  EXPECT_EQ(file->next_data(FileOffset(UINT64_MAX)).value(), std::nullopt);
  EXPECT_EQ(file->size().value(), 1U);
}

TEST_F(PosixFileTest, GrowLengthensWithZerosAndKeepsTheContent) {
  const auto file = create("data");
  ASSERT_TRUE(file->grow(10));
  EXPECT_EQ(text_of(*file), std::string("data\0\0\0\0\0\0", 10));
  ASSERT_TRUE(file->grow(3 * kGiB + 1));
  EXPECT_EQ(file->size().value(), 3 * kGiB + 1);
  EXPECT_LT(file->allocated().value(), 1 * kMiB);
}

TEST_F(PosixFileTest, GrowLeavesALongerFileAloneWithoutACall) {
  const auto file = create("0123456789");
  EXPECT_TRUE(file->grow(0));
  EXPECT_TRUE(file->grow(9));
  EXPECT_TRUE(file->grow(10));
  EXPECT_EQ(plan().allocations, 0);
  EXPECT_EQ(text_of(*file), "0123456789");
}

TEST_F(PosixFileTest, GrowSaysWhenTheFileSystemHasNoCallForIt) {
  const auto file = create("data");
  for (const int missing : {EOPNOTSUPP, ENOSYS}) {
    plan().allocate_error = missing;
    const auto status = file->grow(4096);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().errno_value(), EOPNOTSUPP);
    EXPECT_EQ(status.error().code(), ErrorCode::kUnsupported);
    EXPECT_EQ(text_of(*file), "data");
  }
}

TEST_F(PosixFileTest, GrowGoesOnAfterAnInterruptionAndKeepsOtherErrors) {
  const auto file = create();
  plan().interruptions = 3;
  EXPECT_TRUE(file->grow(100));
  EXPECT_EQ(file->size().value(), 100U);
  plan().allocate_error = ENOSPC;
  const auto status = file->grow(200);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().errno_value(), ENOSPC);
}

// Writers append without asking anybody while others ask for lengths that are too short already
// when the call is made: nothing that was written may be cut off.
TEST_F(PosixFileTest, GrowNeverShortensWhatOthersWriteMeanwhile) {
  constexpr std::uint64_t kBlock = 512;
  constexpr std::uint64_t kBlocks = 20000;
  const auto file = create();
  std::atomic<std::uint64_t> next{0};
  std::atomic<bool> failed{false};
  const std::string block(kBlock, 'x');
  const auto append = [&] {
    for (auto i = next++; i < kBlocks; i = next++) {
      if (!write_text(*file, i * kBlock, block))
        failed = true;
    }
  };
  const auto grow = [&] {
    while (next < kBlocks) {
      if (!file->grow(file->size().value() + 1))
        failed = true;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back(append);
    threads.emplace_back(grow);
  }
  for (auto& thread : threads)
    thread.join();
  EXPECT_FALSE(failed);
  const auto text = text_of(*file);
  ASSERT_GE(text.size(), kBlocks * kBlock);
  EXPECT_EQ(text.find_first_not_of('x'),
            text.size() == kBlocks * kBlock ? std::string::npos : kBlocks * kBlock);
}

TEST_F(PosixFileTest, ResizeSetsTheLength) {
  const auto file = create("0123456789");
  ASSERT_TRUE(file->resize(4));
  EXPECT_EQ(text_of(*file), "0123");
  ASSERT_TRUE(file->resize(6));
  EXPECT_EQ(text_of(*file), std::string("0123\0\0", 6));
}

TEST_F(PosixFileTest, PunchHoleReadsAsZeroKeepsTheLengthAndGivesSpaceBack) {
  const auto file = create(std::string(1 * kMiB, 'x'));
  ASSERT_TRUE(file->sync());
  const auto before = file->allocated().value();
  const auto status = file->punch_hole(FileOffset(64 * kKiB), 512 * kKiB);
  if (!status && status.error().errno_value() == EOPNOTSUPP)
    GTEST_SKIP() << "the file system of " << folder_.path() << " cannot punch holes";
  ASSERT_TRUE(status) << status.error().message();
  EXPECT_EQ(file->allocated().value(), before - 512 * kKiB);
  EXPECT_EQ(text_of(*file), std::string(64 * kKiB, 'x') + std::string(512 * kKiB, '\0') +
                                std::string(448 * kKiB, 'x'));
}

TEST_F(PosixFileTest, PunchHoleSaysWhenTheFileSystemCannot) {
  const auto file = create("data");
  for (const int missing : {EOPNOTSUPP, ENOSYS}) {
    plan().allocate_error = missing;
    const auto status = file->punch_hole(FileOffset(0), 4);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().errno_value(), EOPNOTSUPP);
  }
  EXPECT_EQ(text_of(*file), "data");
}

TEST_F(PosixFileTest, PunchHoleOfNothingDoesNothing) {
  const auto file = create("data");
  EXPECT_TRUE(file->punch_hole(FileOffset(0), 0));
  EXPECT_EQ(plan().allocations, 0);
}

TEST_F(PosixFileTest, SyncPassesTheErrorOn) {
  const auto file = create("data");
  plan().interruptions = 1;
  EXPECT_TRUE(file->sync());
  plan().sync_error = EIO;
  const auto status = file->sync();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().errno_value(), EIO);
  EXPECT_EQ(status.error().message(), message("Input/output error"));
}

TEST_F(PosixFileTest, AllocatedCountsWhatTheHostGaveNotTheLength) {
  const auto file = create();
  ASSERT_TRUE(file->resize(1 * kGiB));
  EXPECT_EQ(file->allocated().value(), 0U);
  ASSERT_TRUE(write_text(*file, 512 * kMiB, std::string(64 * kKiB, 'x')));
  ASSERT_TRUE(file->sync());
  EXPECT_GE(file->allocated().value(), 64 * kKiB);
  EXPECT_LT(file->allocated().value(), 1 * kMiB);
}

TEST_F(PosixFileTest, HolesAndDataAreFound) {
  const auto file = create();
  ASSERT_TRUE(write_text(*file, 1 * kMiB, std::string(64 * kKiB, 'x')));
  ASSERT_TRUE(file->resize(4 * kMiB));
  if (file->next_data(FileOffset(0)).value() == FileOffset(0))
    GTEST_SKIP() << "the file system of " << folder_.path() << " does not show holes";
  const FileOffset data(1 * kMiB);
  const FileOffset behind(1 * kMiB + 64 * kKiB);
  EXPECT_EQ(file->next_data(FileOffset(0)).value(), data);
  EXPECT_EQ(file->next_data(data + 1000).value(), data + 1000);
  EXPECT_EQ(file->next_hole(FileOffset(0)).value(), FileOffset(0));
  EXPECT_EQ(file->next_hole(data).value(), behind);
  EXPECT_EQ(file->next_data(behind).value(), std::nullopt);
  EXPECT_EQ(file->next_hole(behind).value(), behind);
  EXPECT_EQ(file->next_data(FileOffset(4 * kMiB)).value(), std::nullopt);
  EXPECT_EQ(file->next_hole(FileOffset(4 * kMiB)).value(), std::nullopt);
}

TEST_F(PosixFileTest, WhereHolesAreUnknownAllIsData) {
  const auto file = create("0123456789");
  for (const int unknown : {EINVAL, EOPNOTSUPP}) {
    plan().seek_error = unknown;
    EXPECT_EQ(file->next_data(FileOffset(3)).value(), FileOffset(3));
    EXPECT_EQ(file->next_hole(FileOffset(3)).value(), FileOffset(10));
    EXPECT_EQ(file->next_data(FileOffset(10)).value(), std::nullopt);
    EXPECT_EQ(file->next_hole(FileOffset(11)).value(), std::nullopt);
  }
  plan().seek_error = EIO;
  EXPECT_EQ(file->next_data(FileOffset(3)).error().errno_value(), EIO);
}

TEST_F(PosixFileTest, SeekingForHolesDoesNotDisturbReads) {
  const auto file = create("0123456789");
  ASSERT_TRUE(file->next_hole(FileOffset(0)));
  EXPECT_EQ(text_of(*file), "0123456789");
}

TEST_F(PosixFileTest, PrefetchChangesNothing) {
  const auto file = create("0123456789");
  file->prefetch(FileOffset(0), 10);
  file->prefetch(FileOffset(5), 0);
  file->prefetch(FileOffset(UINT64_MAX), UINT64_MAX);
  EXPECT_EQ(text_of(*file), "0123456789");
}

TEST_F(PosixFileTest, StartsToWriteARangeWithoutWaitingOrTakingAFailureAway) {
  const auto file = create("0123456789");
  file->start_writing(FileOffset(2), 5);
  file->start_writing(FileOffset(5), 0);  // would be all that follows
  EXPECT_EQ(plan().started_writes, 1);
  EXPECT_EQ(plan().start_flags, unsigned{SYNC_FILE_RANGE_WRITE});
  file->start_writing(FileOffset(UINT64_MAX), UINT64_MAX);
  EXPECT_EQ(text_of(*file), "0123456789");
}

TEST_F(PosixFileTest, KnowsWhatTheFileWasWhenItWasOpened) {
  const auto path = folder_.write("disk.vmdk", "data");
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  const timespec times[2]{{1'000'000'000, 0}, {1'234'567'890, 999'999'999}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  const auto file = system_.open(path, Access::kReadWrite);
  ASSERT_TRUE(file);
  ASSERT_TRUE(write_text(**file, 0, "more"));
  ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  EXPECT_EQ((*file)->modified_at_open(), 1'234'567'890);
  EXPECT_EQ((*file)->permissions(), 0640U);
  EXPECT_EQ((*file)->name(), path.string());
}

TEST_F(PosixFileTest, IdIsOfTheFileNotOfItsName) {
  const auto path = folder_.write("disk.vmdk", "data");
  std::filesystem::create_hard_link(path, folder_ / "again.vmdk");
  std::filesystem::create_symlink("disk.vmdk", folder_ / "link.vmdk");
  folder_.write("other.vmdk", "data");
  const auto id = [&](std::string_view name) {
    return system_.open(folder_ / name, Access::kReadOnly).value()->id();
  };
  EXPECT_EQ(id("disk.vmdk"), id("again.vmdk"));
  EXPECT_EQ(id("disk.vmdk"), id("link.vmdk"));
  EXPECT_NE(id("disk.vmdk"), id("other.vmdk"));
}

}  // namespace
}  // namespace vmdk
