// Two requests at once: what one does between two calls of the other must not reach stable storage
// in the wrong order. The moments are chosen; the storms of tests/concurrency find others.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "crash/meddling_file_system.h"
#include "crash/oracle.h"
#include "crash/workload.h"
#include "crash/write_rules.h"
#include "support/matchers.h"
#include "support/sample_disk.h"

namespace vmdk::test {
namespace {

using Kind = DiskOperation::Kind;
using Parts = std::span<const iovec>;

constexpr std::uint64_t kGrain = kSampleGrain;

class MeanwhileCrashTest : public ::testing::TestWithParam<SampleKind> {
 protected:
  void SetUp() override { sample_ = build_sample_disk(initial_, GetParam()); }

  // Behind the metadata of an extent's file.
  bool is_data(const File& file, FileOffset at) const {
    for (const SampleDisk::Extent& extent : sample_.extents)
      if (file.name() == extent.file)
        return at.bytes() >= (extent.cowd
                                  ? extent.cowd->directory + kSectorSize
                                  : extent.built.layout.header.overhead.count() * kSectorSize);
    return false;
  }

  // Does `meanwhile` right before the n-th write behind the metadata, from 1.
  void before_data(std::size_t nth, const DiskOperation& meanwhile,
                   const std::vector<DiskOperation>& operations) {
    std::size_t writes = 0;
    run(operations, {.write = [&](File& file, FileOffset at, Parts parts) {
          if (is_data(file, at) && ++writes == nth)
            happen(meanwhile);
          return file.write(at, parts);
        }});
  }

  // Does `meanwhile` right behind the first sync that there is after a write behind the metadata:
  // the first barrier of a commit.
  void behind_the_first_barrier(const DiskOperation& meanwhile,
                                const std::vector<DiskOperation>& operations) {
    bool written = false;
    run(operations, {.write =
                         [&](File& file, FileOffset at, Parts parts) {
                           written = written || is_data(file, at);
                           return file.write(at, parts);
                         },
                     .sync = [&](File& file) -> Status {
                       RETURN_IF_ERROR(file.sync());
                       if (std::exchange(written, false) && !happened_)
                         happen(meanwhile);
                       return {};
                     }});
  }

 private:
  void happen(const DiskOperation& meanwhile) {
    happened_ = true;
    EXPECT_OK(run_->meanwhile(meanwhile)) << meanwhile.label;
  }

  void run(const std::vector<DiskOperation>& operations, const Meddling& meddling) {
    run_ = std::make_unique<CrashRun>(initial_, sample_, sample_.content);
    ASSERT_OK(run_->run(operations, [&](FileSystem& below) {
      return std::make_unique<MeddlingFileSystem>(below, meddling);
    }));
    ASSERT_TRUE(happened_);
    const auto broken = broken_rule(*run_, initial_);
    EXPECT_FALSE(broken) << *broken;
    const Sweep result =
        sweep(*run_, {.exhaustive_pieces = 4, .of_each_family = 3, .random_subsets = 3}, initial_);
    EXPECT_FALSE(result.violation) << *result.violation;
    EXPECT_GT(result.states, 0U);
  }

  MemoryFileSystem initial_;
  SampleDisk sample_;
  std::unique_ptr<CrashRun> run_;
  bool happened_ = false;
};

// The claim is in the sector that the flush writes, and shows what was there before.
TEST_P(MeanwhileCrashTest, AFlushWhileAGrainIsFilled) {
  before_data(2, {"flush", Kind::kFlush},
              {{"a whole grain", Kind::kWrite, 12 * kGrain, kGrain},
               {"a part of a grain", Kind::kWrite, 9 * kGrain + 700, 900},
               {"flush", Kind::kFlush}});
}

TEST_P(MeanwhileCrashTest, AFlushWhileAGrainIsOverwritten) {
  before_data(1, {"flush", Kind::kFlush},
              {{"in place", Kind::kWrite, kGrain + 300, kGrain}, {"flush", Kind::kFlush}});
}

// Its grain is not durable when the tables are written.
TEST_P(MeanwhileCrashTest, AWriteWhileACommitRuns) {
  behind_the_first_barrier({"another grain", Kind::kWrite, 12 * kGrain, kGrain},
                           {{"a grain", Kind::kWrite, 8 * kGrain, kGrain},
                            {"flush", Kind::kFlush},
                            {"flush again", Kind::kFlush}});
}

INSTANTIATE_TEST_SUITE_P(Kinds, MeanwhileCrashTest, ::testing::ValuesIn(kAllSampleKinds),
                         [](const auto& kind) { return to_string(kind.param); });

class MeanwhileDiscardTest : public MeanwhileCrashTest {};

// The tables that are written still name the grain: its space is not free before the next commit.
TEST_P(MeanwhileDiscardTest, ADiscardWhileACommitRuns) {
  behind_the_first_barrier({"discard", Kind::kDiscard, kGrain, 2 * kGrain},
                           {{"a grain", Kind::kWrite, 8 * kGrain, kGrain},
                            {"flush", Kind::kFlush},
                            {"where space was freed", Kind::kWrite, 14 * kGrain, 2 * kGrain},
                            {"flush again", Kind::kFlush}});
}

INSTANTIATE_TEST_SUITE_P(Kinds, MeanwhileDiscardTest,
                         ::testing::Values(SampleKind::kSparse, SampleKind::kWithoutRedundant,
                                           SampleKind::kSplit, SampleKind::kChildZeroedGrains,
                                           SampleKind::kCowd),
                         [](const auto& kind) { return to_string(kind.param); });

}  // namespace
}  // namespace vmdk::test
