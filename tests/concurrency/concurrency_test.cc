// Real threads on one disk. Also run with the thread sanitizer.

#include <atomic>
#include <barrier>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/check.h>
#include <vmdk/create.h>
#include <vmdk/disk.h>

#include "concurrency/storm.h"
#include "support/esx_builder.h"
#include "support/image_builder.h"
#include "support/intercepting_file_system.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"

namespace vmdk::test {
namespace {

constexpr char kImage[] = "/vm/disk.vmdk";
constexpr std::uint64_t kGrain = 4 * kKiB;
// The thread sanitizer makes everything some fifteen times slower. gcc tells of it by a macro,
// clang by a feature.
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define VMDK_THREAD_SANITIZER
#endif
#elif defined(__SANITIZE_THREAD__)
#define VMDK_THREAD_SANITIZER
#endif
#ifdef VMDK_THREAD_SANITIZER
constexpr unsigned kSlowness = 4;
#else
constexpr unsigned kSlowness = 1;
#endif
// Versions in parents; writers use small ones.
constexpr std::uint64_t kParentVersion = std::uint64_t{1} << 40U;

OpenOptions options_with(std::uint64_t table_cache, std::chrono::milliseconds commit_interval) {
  OpenOptions options;
  options.table_cache = table_cache;
  options.commit_interval = commit_interval;
  return options;
}

// Holds some calls up, so that there is time between a lookup and the I/O it leads to.
class SlowFileSystem : public InterceptingFileSystem {
 public:
  using InterceptingFileSystem::InterceptingFileSystem;

 protected:
  std::optional<Fault> intercept(const FileOperation& operation) override {
    const bool moves_data = operation.kind == OpKind::kRead || operation.kind == OpKind::kWrite;
    if (moves_data && calls_.fetch_add(1) % 8 == 0)
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    return std::nullopt;
  }

 private:
  std::atomic<std::uint64_t> calls_{0};
};

class ConcurrencyTest : public ::testing::Test {
 protected:
  void make_image(std::uint64_t capacity, std::uint64_t grain = kGrain) {
    CreateOptions options;
    options.capacity = capacity;
    options.grain_size = grain;
    ASSERT_OK(create_image(files_, kImage, options));
  }

  // A parent with every other grain marked, and a child that can hide it.
  void make_child(std::uint64_t capacity, std::uint64_t grain = kGrain) {
    CreateOptions parent;
    parent.capacity = capacity;
    parent.grain_size = 2 * grain;
    ASSERT_OK(create_image(files_, "/vm/base.vmdk", parent));
    ASSERT_OK_AND_ASSIGN(auto base, Disk::open(files_, "/vm/base.vmdk", {}));
    for (std::uint64_t at = 0; at < capacity; at += 4 * grain)
      ASSERT_OK(base->write(DiskOffset(at),
                            marked(at / kSectorSize, 2 * grain / kSectorSize, kParentVersion)));
    ASSERT_OK(base->close());
    base.reset();
    CreateOptions child;
    child.parent = "/vm/base.vmdk";
    child.grain_size = grain;
    child.zeroed_grains = true;
    ASSERT_OK(create_image(files_, kImage, child));
  }

  void open(const OpenOptions& options) {
    ASSERT_OK_AND_ASSIGN(disk_, Disk::open(files_, kImage, options));
  }

  // Closes, and expects a clean image that holds no foreign sector.
  void close_and_check() {
    ASSERT_OK(disk_->close());
    disk_.reset();
    CheckOptions check;
    ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(files_, kImage, check));
    EXPECT_EQ(report.exit_code(), 0);
    OpenOptions options;
    options.access = Access::kReadOnly;
    ASSERT_NO_FATAL_FAILURE(open(options));
    const auto content = read(0, disk_->capacity());
    EXPECT_EQ(foreign_sector(content, 0), std::nullopt);
  }

  std::vector<std::byte> read(std::uint64_t at, std::size_t length) {
    std::vector<std::byte> bytes(length);
    EXPECT_OK(disk_->read(DiskOffset(at), bytes));
    return bytes;
  }

  void expect_versions(const std::vector<std::uint64_t>& versions, std::uint64_t untouched) {
    const auto content = read(0, versions.size() * kSectorSize);
    for (std::uint64_t i = 0; i < versions.size(); ++i) {
      const auto shown = version_of(std::span(content).subspan(i * kSectorSize, kSectorSize), i);
      const bool parent_shows = untouched != 0 && i * kSectorSize / (2 * kGrain) % 2 == 0;
      const std::uint64_t wanted = versions[i] != 0 ? versions[i] : parent_shows ? untouched : 0;
      ASSERT_EQ(shown, wanted) << "sector " << i;
    }
  }

  MemoryFileSystem files_;
  SlowFileSystem slow_{files_};
  std::unique_ptr<Disk> disk_;
};

// Each thread writes its part of the same new grain at the same moment; one of them allocates it.
void fill_grains_together(Disk& disk, std::uint64_t grain, std::uint64_t grains) {
  constexpr unsigned kThreads = 4;
  std::barrier start(kThreads);
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < kThreads; ++thread)
    threads.emplace_back([&, thread] {
      for (std::uint64_t i = 0; i < grains; ++i) {
        const std::uint64_t part = grain / kThreads;
        const std::uint64_t at = i * grain + thread * part;
        start.arrive_and_wait();
        EXPECT_OK(disk.write(DiskOffset(at + kSectorSize),
                             marked(at / kSectorSize + 1, part / kSectorSize - 1, 1)));
      }
    });
  for (std::thread& thread : threads)
    thread.join();
}

TEST_F(ConcurrencyTest, OneNewGrainWrittenByManyHasAllTheirBytes) {
  constexpr std::uint64_t kLargeGrain = 64 * kKiB;
  ASSERT_NO_FATAL_FAILURE(make_image(32 * kMiB, kLargeGrain));
  ASSERT_NO_FATAL_FAILURE(open(options_with(0, std::chrono::milliseconds(1))));
  fill_grains_together(*disk_, kLargeGrain, 400);
  ASSERT_NO_FATAL_FAILURE(close_and_check());
  const auto content = read(0, 400 * kLargeGrain);
  for (std::uint64_t sector = 0; sector < content.size() / kSectorSize; ++sector) {
    const std::uint64_t wanted = sector % (kLargeGrain / 4 / kSectorSize) == 0 ? 0 : 1;
    ASSERT_EQ(version_of(std::span(content).subspan(sector * kSectorSize, kSectorSize), sector),
              wanted)
        << "sector " << sector;
  }
}

TEST_F(ConcurrencyTest, OneNewGrainOverAParentHasAllBytesAndTheParentsBetween) {
  constexpr std::uint64_t kLargeGrain = 64 * kKiB;
  ASSERT_NO_FATAL_FAILURE(make_child(16 * kMiB, kLargeGrain));
  ASSERT_NO_FATAL_FAILURE(open(options_with(0, std::chrono::milliseconds(1))));
  fill_grains_together(*disk_, kLargeGrain, 256);
  ASSERT_NO_FATAL_FAILURE(close_and_check());
  const auto content = read(0, 256 * kLargeGrain);
  for (std::uint64_t sector = 0; sector < content.size() / kSectorSize; ++sector) {
    const bool parent = sector * kSectorSize / (2 * kLargeGrain) % 2 == 0;
    const std::uint64_t untouched = parent ? kParentVersion : 0;
    const std::uint64_t wanted = sector % (kLargeGrain / 4 / kSectorSize) == 0 ? untouched : 1;
    ASSERT_EQ(version_of(std::span(content).subspan(sector * kSectorSize, kSectorSize), sector),
              wanted)
        << "sector " << sector;
  }
}

TEST_F(ConcurrencyTest, StormOnOneTable) {
  ASSERT_NO_FATAL_FAILURE(make_image(2 * kMiB));
  ASSERT_NO_FATAL_FAILURE(open(options_with(256 * kMiB, std::chrono::milliseconds(1))));
  std::vector<std::uint64_t> versions;
  const StormPlan plan{.kept = kMiB, .hot = 128 * kKiB, .operations = 40000 / kSlowness, .seed = 1};
  EXPECT_EQ(storm(*disk_, plan, versions), std::nullopt);
  ASSERT_NO_FATAL_FAILURE(close_and_check());
  expect_versions(versions, 0);
}

// Far more tables than the cache may hold (16): they come and go all the time.
TEST_F(ConcurrencyTest, StormOnManyTablesWithTheSmallestCache) {
  ASSERT_NO_FATAL_FAILURE(make_image(128 * kMiB));
  ASSERT_NO_FATAL_FAILURE(open(options_with(0, std::chrono::milliseconds(1))));
  std::vector<std::uint64_t> versions;
  const StormPlan plan{
      .kept = 64 * kMiB, .hot = 64 * kKiB, .operations = 8000 / kSlowness, .seed = 2};
  EXPECT_EQ(storm(*disk_, plan, versions), std::nullopt);
  ASSERT_NO_FATAL_FAILURE(close_and_check());
  expect_versions(versions, 0);
}

TEST_F(ConcurrencyTest, StormOverAParentWithTheSmallestCache) {
  ASSERT_NO_FATAL_FAILURE(make_child(64 * kMiB));
  ASSERT_NO_FATAL_FAILURE(open(options_with(0, std::chrono::milliseconds(1))));
  std::vector<std::uint64_t> versions;
  const StormPlan plan{
      .kept = 32 * kMiB, .hot = 64 * kKiB, .operations = 8000 / kSlowness, .seed = 3};
  EXPECT_EQ(storm(*disk_, plan, versions), std::nullopt);
  ASSERT_NO_FATAL_FAILURE(close_and_check());
  expect_versions(versions, kParentVersion);
}

// All grains of a small part are discarded and written over and over, so that freed space is used
// again at once; whoever reads must never see what another grain had there.
TEST_F(ConcurrencyTest, FreedGrainsNeverShowForeignBytes) {
  ASSERT_NO_FATAL_FAILURE(make_image(2 * kMiB));
  ASSERT_OK_AND_ASSIGN(
      disk_, Disk::open(slow_, kImage, options_with(256 * kMiB, std::chrono::milliseconds(1))));
  std::vector<std::uint64_t> versions;
  const StormPlan plan{.writers = 2,
                       .readers = 3,
                       .flushers = 2,
                       .discarders = 2,
                       .kept = kGrain,
                       .hot = 64 * kKiB,
                       .operations = 24000 / kSlowness,
                       .seed = 4};
  EXPECT_EQ(storm(*disk_, plan, versions), std::nullopt);
  ASSERT_NO_FATAL_FAILURE(close_and_check());
}

TEST_F(ConcurrencyTest, StormOverManyExtents) {
  std::vector<SparseSpec> parts(24);
  for (SparseSpec& part : parts) {
    part.capacity = 2 * kMiB;
    part.grain_size = kGrain;
  }
  ASSERT_OK(build_split_sparse(files_, kImage, parts));
  ASSERT_NO_FATAL_FAILURE(open(options_with(0, std::chrono::milliseconds(1))));
  std::vector<std::uint64_t> versions;
  const StormPlan plan{
      .kept = 24 * kMiB, .hot = 64 * kKiB, .operations = 8000 / kSlowness, .seed = 5};
  EXPECT_EQ(storm(*disk_, plan, versions), std::nullopt);
  ASSERT_NO_FATAL_FAILURE(close_and_check());
  expect_versions(versions, 0);
}

// A delta without a table, which gets them, over and over, while tables come and go.
TEST_F(ConcurrencyTest, StormOnADeltaThatGetsItsTables) {
  ASSERT_OK(build_cowd_disk(files_, kImage, {.capacity = 128 * kMiB}));
  ASSERT_NO_FATAL_FAILURE(open(options_with(0, std::chrono::milliseconds(1))));
  std::vector<std::uint64_t> versions;
  const StormPlan plan{
      .kept = 64 * kMiB, .hot = 64 * kKiB, .operations = 8000 / kSlowness, .seed = 6};
  EXPECT_EQ(storm(*disk_, plan, versions), std::nullopt);
  ASSERT_NO_FATAL_FAILURE(close_and_check());
  expect_versions(versions, 0);
}

// The first write changes the content id that it tells.
TEST_F(ConcurrencyTest, WhatADiskIsMayBeAskedDuringTheFirstWrite) {
  make_image(kMiB);
  for (unsigned round = 0; round < 40; ++round) {
    ASSERT_OK_AND_ASSIGN(auto disk, Disk::open(files_, kImage, options_with(kMiB, {})));
    const std::uint32_t before = disk->info().layers.front().cid;
    std::barrier start(2);
    std::atomic<bool> written{false};
    std::thread asking([&] {
      start.arrive_and_wait();
      do {
        EXPECT_EQ(disk->info().layers.front().create_type, "monolithicSparse");
      } while (!written.load());
    });
    start.arrive_and_wait();
    EXPECT_OK(disk->write(DiskOffset(0), marked(0, 1, round + 1)));
    written.store(true);
    asking.join();
    EXPECT_NE(disk->info().layers.front().cid, before);
    ASSERT_OK(disk->close());
  }
}

}  // namespace
}  // namespace vmdk::test
