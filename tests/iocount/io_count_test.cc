// What requests cost in calls and bytes below the engine. The numbers are promises, not habits.

#include <malloc.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/create.h>
#include <vmdk/disk.h>

#include "support/counting_file_system.h"
#include "support/file_helpers.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"

namespace vmdk::test {
namespace {

constexpr char kImage[] = "/vm/disk.vmdk";
constexpr char kParent[] = "/vm/base.vmdk";
constexpr std::uint64_t kTiB = 1024 * kGiB;
// About the most that one sparse file can hold.
constexpr std::uint64_t kHuge = 2 * kTiB - kGiB;
// Content id and mark.
constexpr std::uint64_t kFirstWriteWrites = 2;
// The syncs that no disk escapes: after content id and mark; data; tables.
constexpr std::uint64_t kFirstWriteSyncs = 1;
constexpr std::uint64_t kCommitSyncs = 2;

class IoCountTest : public ::testing::Test {
 protected:
  void make_image(std::uint64_t capacity) {
    CreateOptions options;
    options.capacity = capacity;
    ASSERT_OK(create_image(files_, kImage, options));
    open();
  }

  void open(Access access = Access::kReadWrite) {
    disk_.reset();
    OpenOptions options;
    options.access = access;
    options.commit_interval = std::chrono::milliseconds::zero();
    ASSERT_OK_AND_ASSIGN(disk_, Disk::open(counting_, kImage, options));
  }

  void write(std::uint64_t at, std::size_t length) {
    ASSERT_OK(disk_->write(DiskOffset(at), filled(length, 0x5a)));
  }

  MemoryFileSystem files_;
  CountingFileSystem counting_{files_};
  std::unique_ptr<Disk> disk_;
};

// The load this project began with: 128 MiB in requests of 128 KiB into an empty image.
TEST_F(IoCountTest, SequentialFillOfAnEmptyImage) {
  make_image(4 * kGiB);
  counting_.reset();
  for (std::uint64_t i = 0; i < 1024; ++i)
    write(i * 128 * kKiB, 128 * kKiB);
  ASSERT_OK(disk_->flush());
  const OpCounts counts = counting_.total();
  // 128 MiB are 2048 grains: four tables, both copies of each side by side.
  EXPECT_LE(counts.writes(), 1024 + kFirstWriteWrites + 2);
  EXPECT_EQ(counts.syncs(), kFirstWriteSyncs + kCommitSyncs);
  EXPECT_LE(counts.reads(), 8U);
  EXPECT_LE(counts.written_bytes(), 128 * kMiB + 32 * kKiB);
  EXPECT_LE(counts.of(OpKind::kGrow), 1U);
}

TEST_F(IoCountTest, OneLargeWriteIsOneCall) {
  make_image(4 * kGiB);
  write(kGiB, 4096);
  ASSERT_OK(disk_->flush());
  counting_.reset();
  write(0, 32 * kMiB);
  EXPECT_EQ(counting_.total().writes(), 1U);
  EXPECT_EQ(counting_.total().syncs(), 0U);
}

TEST_F(IoCountTest, SyncsOfAFlush) {
  make_image(kGiB);
  counting_.reset();
  ASSERT_OK(disk_->flush());
  EXPECT_EQ(counting_.total().syncs(), 0U) << "nothing was written";
  write(0, kMiB);
  EXPECT_EQ(counting_.total().syncs(), kFirstWriteSyncs);
  counting_.reset();
  ASSERT_OK(disk_->flush());
  EXPECT_EQ(counting_.total().syncs(), kCommitSyncs) << "new grains";
  counting_.reset();
  ASSERT_OK(disk_->flush());
  EXPECT_EQ(counting_.total().syncs() + counting_.total().writes(), 0U) << "nothing new";
  write(4096, 4096);
  counting_.reset();
  ASSERT_OK(disk_->flush());
  EXPECT_EQ(counting_.total().syncs(), 1U) << "in place";
  EXPECT_EQ(counting_.total().writes(), 0U);
}

TEST_F(IoCountTest, CopyOnWriteReadsTheParentAtBothEdgesOnly) {
  CreateOptions parent;
  parent.capacity = 64 * kMiB;
  ASSERT_OK(create_image(files_, kParent, parent));
  OpenOptions options;
  options.commit_interval = std::chrono::milliseconds::zero();
  ASSERT_OK_AND_ASSIGN(auto base, Disk::open(files_, kParent, options));
  ASSERT_OK(base->write(DiskOffset(), filled(64 * kMiB, 0x11)));
  ASSERT_OK(base->close());
  base.reset();
  CreateOptions child;
  child.parent = kParent;
  ASSERT_OK(create_image(files_, kImage, child));
  ASSERT_NO_FATAL_FAILURE(open());
  // Content id and mark are written, and the parent's tables are loaded.
  write(60 * kMiB, 4096);
  std::vector<std::byte> byte(1);
  ASSERT_OK(disk_->read(DiskOffset(), byte));
  counting_.reset();
  for (std::uint64_t i = 0; i < 16; ++i) {
    const OpCounts before = counting_.total();
    write(i * 2 * kMiB + 4096, kMiB);
    EXPECT_LE(counting_.total().reads() - before.reads(), 2U);
  }
  // A request that comes to the end of space reserved ahead is written in two pieces.
  EXPECT_LE(counting_.total().writes(), 16U + 3U);
  EXPECT_EQ(counting_.of_file(kParent).reads(), counting_.total().reads());
  EXPECT_EQ(counting_.of_file(kParent).writes(), 0U);
}

// A small write into a new grain writes itself, not the grain.
TEST_F(IoCountTest, RandomSmallWritesWriteTheUsersBytesOnly) {
  make_image(4 * kGiB);
  counting_.reset();
  constexpr std::uint64_t kWrites = 4000;
  std::mt19937_64 random(7);
  for (std::uint64_t i = 0; i < kWrites; ++i)
    write(random() % (4 * kGiB / 4096) * 4096, 4096);
  ASSERT_OK(disk_->flush());
  constexpr std::uint64_t kTables = 2 * 128 * 2 * kKiB;  // both copies of all
  EXPECT_LE(counting_.total().written_bytes(), kWrites * 4096 * 11 / 10 + kTables);
  EXPECT_LE(counting_.total().writes(), kWrites + kFirstWriteWrites + 2 * 128);
  EXPECT_EQ(counting_.total().reads(), 0U);
}

TEST_F(IoCountTest, DiscardOfEmptySpaceCostsNothing) {
  make_image(kHuge);
  const std::uint64_t size = files_.size(kImage);
  counting_.reset();
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_OK(disk_->discard(DiskOffset(512 * kGiB), kTiB));
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(took, std::chrono::seconds(2));
  EXPECT_LE(counting_.total().writes(), kFirstWriteWrites);
  EXPECT_LE(counting_.total().syncs(), kFirstWriteSyncs);
  ASSERT_OK(disk_->flush());
  EXPECT_LE(counting_.total().writes(), kFirstWriteWrites);
  EXPECT_EQ(files_.size(kImage), size);
}

TEST_F(IoCountTest, OpeningForReadingReadsLittle) {
  make_image(kHuge);
  disk_.reset();
  counting_.reset();
  ASSERT_NO_FATAL_FAILURE(open(Access::kReadOnly));
  // Two directories of 256 KiB, and headers; none of the 128 MiB of tables.
  EXPECT_LE(counting_.total().read_bytes(), kMiB);
  EXPECT_EQ(counting_.total().writes() + counting_.total().syncs(), 0U);
}

TEST_F(IoCountTest, OpeningForWritingReadsTheTablesInLargePieces) {
  make_image(kTiB);
  disk_.reset();
  counting_.reset();
  ASSERT_NO_FATAL_FAILURE(open());
  const std::uint64_t tables = 2 * kTiB / (32 * kMiB) * 2 * kKiB;
  EXPECT_LE(counting_.total().read_bytes(), tables + kMiB);
  EXPECT_LE(counting_.total().reads(), tables / kMiB + 32);
  EXPECT_EQ(counting_.total().writes() + counting_.total().syncs(), 0U);
}

// What the scan at open found empty is not looked at again.
TEST_F(IoCountTest, EmptySpaceIsReadWithoutCalls) {
  make_image(kHuge);
  counting_.reset();
  std::vector<std::byte> bytes(kMiB);
  for (std::uint64_t at = 0; at < kHuge - kMiB; at += 16 * kGiB)
    ASSERT_OK(disk_->read(DiskOffset(at), bytes));
  EXPECT_EQ(disk_->next_data(DiskOffset()).value(), std::nullopt);
  EXPECT_EQ(counting_.total().reads(), 0U);
}

// A read-only open has no scan: each table is read once and kept only when it holds something.
TEST_F(IoCountTest, TablesOfEmptySpaceTakeNoMemory) {
  make_image(kHuge);
  ASSERT_NO_FATAL_FAILURE(open(Access::kReadOnly));
  const std::size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
  constexpr std::uint64_t kTableCoverage = 32 * kMiB;
  std::vector<std::byte> bytes(kSectorSize);
  for (std::uint64_t at = 0; at < kHuge; at += kTableCoverage)
    ASSERT_OK(disk_->read(DiskOffset(at), bytes));
  EXPECT_LE(mallinfo2().uordblks + mallinfo2().hblkhd, before + 64 * kKiB);
}

TEST_F(IoCountTest, CloseSyncsTwiceAfterItsFlush) {
  make_image(kGiB);
  write(0, kMiB);
  ASSERT_OK(disk_->flush());
  counting_.reset();
  ASSERT_OK(disk_->close());
  EXPECT_LE(counting_.total().syncs(), 2U);
  EXPECT_LE(counting_.total().writes(), 1U);
}

TEST_F(IoCountTest, CloseOfWhatWasOnlyReadDoesNothing) {
  make_image(kGiB);
  std::vector<std::byte> bytes(kMiB);
  ASSERT_OK(disk_->read(DiskOffset(), bytes));
  counting_.reset();
  ASSERT_OK(disk_->close());
  const OpCounts counts = counting_.total();
  EXPECT_EQ(counts.writes() + counts.syncs() + counts.of(OpKind::kResize), 0U);
}

// The kernel hands one stream's requests to many threads, which overtake each other.
TEST_F(IoCountTest, StreamWrittenByManyThreadsLiesInLongRuns) {
  constexpr std::uint64_t kStream = 512 * kMiB;
  constexpr std::uint64_t kRequest = 128 * kKiB;
  make_image(4 * kGiB);
  const auto bytes = filled(kRequest, 0x5a);
  std::atomic<std::uint64_t> next{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (std::uint64_t at = next.fetch_add(kRequest); at < kStream; at = next.fetch_add(kRequest))
        EXPECT_OK(disk_->write(DiskOffset(at), bytes));
    });
  for (std::thread& thread : threads)
    thread.join();
  ASSERT_OK(disk_->flush());
  std::uint64_t runs = 0;
  for (std::uint64_t at = 0; at < kStream;) {
    ASSERT_OK_AND_ASSIGN(const MapRun run, disk_->map(DiskOffset(at), kStream - at));
    ASSERT_EQ(run.kind, MapKind::kData);
    at += run.length;
    ++runs;
  }
  EXPECT_LE(runs, kStream / (16 * kMiB)) << "runs of 16 MiB on average at least";
}

}  // namespace
}  // namespace vmdk::test
