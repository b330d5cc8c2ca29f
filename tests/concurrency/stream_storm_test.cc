// Many readers of compressed extents that share one small cache, with helpers that work ahead, bad
// grains among the good, and extents that go while their helpers still work.
#include <algorithm>
#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "extent/stream_extent.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"
#include "support/stream_builder.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kGrain = 4 * kKiB;
constexpr std::uint64_t kGrains = 1200;
constexpr std::uint64_t kBad = 601;

std::vector<std::byte> content_of(std::uint64_t grain) {
  std::vector<std::byte> bytes(kGrain);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(grain * 31 + i % 251);
  return bytes;
}

class StreamStormTest : public testing::Test {
 protected:
  void SetUp() override {
    StreamSpec spec;
    spec.capacity = kGrains * kGrain;
    spec.grain_size = kGrain;
    for (std::uint64_t index = 0; index < kGrains; ++index) {
      StreamGrain grain;
      grain.index = index;
      grain.data = content_of(index);
      if (index == kBad)
        grain.edit_marker = [](GrainMarker& marker) { ++marker.lba; };
      spec.grains.push_back(grain);
    }
    for (const char* path : kPaths) {
      ASSERT_OK(build_stream(memory_, path, spec));
      ASSERT_OK_AND_ASSIGN(auto file, memory_.open(path, Access::kReadOnly));
      files_.push_back(std::make_unique<OpenFile>(std::move(file)));
    }
    std::array<std::byte, kSparseHeaderSize> bytes{};
    ASSERT_OK(files_[0]->file().read(FileOffset(), bytes));
    ASSERT_OK_AND_ASSIGN(header_, decode_sparse_header(bytes));
  }

  void expect_grains(Extent& extent, std::uint64_t first, std::uint64_t count) {
    std::vector<std::byte> bytes(count * kGrain);
    const auto inside = epochs_.enter();
    const bool good = extent.read_compressed(ExtentOffset(first * kGrain), bytes).has_value();
    const bool has_bad = first <= kBad && kBad < first + count;
    if (good == has_bad)
      wrong_.fetch_add(1);
    for (std::uint64_t i = 0; good && i < count; ++i) {
      const auto want = content_of(first + i);
      if (!std::equal(want.begin(), want.end(),
                      bytes.begin() + static_cast<std::ptrdiff_t>(i * kGrain)))
        wrong_.fetch_add(1);
    }
  }

  static constexpr std::array kPaths{"/vm/a.vmdk", "/vm/b.vmdk"};

  MemoryFileSystem memory_;
  std::vector<std::unique_ptr<OpenFile>> files_;
  SparseHeader header_;
  RequestEpochs epochs_;
  std::atomic<int> wrong_{0};
};

TEST_F(StreamStormTest, EveryReaderGetsItsOwnBytes) {
  constexpr int kThreads = 6;
  constexpr int kReads = 120;
  TableCache tables(0, epochs_);
  InflatedCache inflated(24 * kGrain);
  HelperThreads helpers(2);
  for (unsigned round = 0; round < 4; ++round) {
    std::vector<std::unique_ptr<StreamExtent>> extents;
    for (const auto& file : files_) {
      ASSERT_OK_AND_ASSIGN(auto extent, StreamExtent::open(*file, header_, kGrains * kGrain,
                                                           {tables, inflated, helpers}));
      extents.push_back(std::move(extent));
    }
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < kThreads; ++i)
      threads.emplace_back([&, i] {
        std::mt19937 random(round * kThreads + i);
        Extent& extent = *extents[i % extents.size()];
        std::uint64_t next = random() % kGrains;
        for (int n = 0; n < kReads; ++n) {
          // Every other thread is a sequential reader, for whom helpers work ahead; half of the
          // others' reads are of the bad grain and its neighbours.
          const std::uint64_t first = i % 2 == 0          ? next % (kGrains - 8)
                                      : random() % 2 == 0 ? kBad - random() % 4
                                                          : random() % (kGrains - 8);
          const std::uint64_t count = 1 + random() % 8;
          expect_grains(extent, first, count);
          next = first + count;
        }
      });
    for (std::thread& thread : threads)
      thread.join();
    EXPECT_LE(inflated.bytes_in_memory(), 24 * kGrain);
    extents.clear();  // helpers may still be at work for them
    EXPECT_EQ(inflated.bytes_in_memory(), 0U);
  }
  EXPECT_EQ(wrong_.load(), 0);
}

}  // namespace
}  // namespace vmdk::test
