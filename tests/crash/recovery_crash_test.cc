// Crashes while an earlier crash is mended, and crashes of long random workloads.

#include <cstdlib>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/check.h>

#include "crash/oracle.h"
#include "crash/workload.h"
#include "crash/write_rules.h"
#include "support/boundary_random.h"
#include "support/matchers.h"
#include "support/sample_disk.h"

namespace vmdk::test {
namespace {

using Kind = DiskOperation::Kind;

bool soak() {
  return std::getenv("VMDK_SOAK") != nullptr;
}

bool is_interrupted(FileSystem& files, const SampleDisk& sample) {
  CheckOptions options;
  options.open = quiet_options(Access::kReadOnly);
  const auto report = check_image(files, sample.image, options);
  if (!report || report->exit_code() != 3)
    return false;
  for (const Finding& finding : report->findings)
    if (finding.text.find("a commit was interrupted") != std::string::npos)
      return true;
  return false;
}

// What the disk of a state shows.
ReferenceDisk content_of(FileSystem& files, const SampleDisk& sample) {
  ReferenceDisk content(sample.capacity());
  auto disk = Disk::open(files, sample.image, quiet_options(Access::kReadOnly));
  EXPECT_OK(disk);
  std::vector<std::byte> bytes(sample.capacity());
  EXPECT_OK((*disk)->read(DiskOffset(), bytes));
  content.write(0, bytes);
  return content;
}

class RecoveryCrashTest : public ::testing::TestWithParam<SampleKind> {
 protected:
  void SetUp() override { sample_ = build_sample_disk(initial_, GetParam()); }

  // Calls `use` with states in which the copies of the tables differ.
  void for_interrupted(const std::function<void(const MemoryFileSystem&)>& use) {
    CrashRun run(initial_, sample_, sample_.content);
    ASSERT_OK(run.run({{"grains on both sides of the border", Kind::kWrite,
                        sample_.border - 3 * kSampleGrain - 512, 6 * kSampleGrain}}));
    std::size_t found = 0;
    const CrashLimits limits{.exhaustive_pieces = 4, .of_each_family = 2, .random_subsets = 2};
    for (const std::size_t point : run.files().boundary_points()) {
      run.files().for_each_state(point, limits, [&](CrashState& state) {
        if (!is_interrupted(*state.file_system, sample_) || (++found > kMostStates && !soak()))
          return;
        use(*state.file_system);
      });
    }
    EXPECT_GT(found, 0U);
  }

  static constexpr std::size_t kMostStates = 6;

  MemoryFileSystem initial_;
  SampleDisk sample_;
};

TEST_P(RecoveryCrashTest, CrashWhileTheFirstWriteHeals) {
  for_interrupted([&](const MemoryFileSystem& state) {
    const ReferenceDisk content = content_of(*state.clone(), sample_);
    CrashRun run(state, sample_, content);
    ASSERT_OK(run.run({{"write", Kind::kWrite, 12 * kSampleGrain + 100, kSampleGrain}}));
    const auto broken = broken_rule(run, state);
    ASSERT_FALSE(broken) << *broken;
    const Sweep result =
        sweep(run, {.exhaustive_pieces = 4, .of_each_family = 3, .random_subsets = 3}, initial_);
    ASSERT_FALSE(result.violation) << *result.violation;
  });
}

TEST_P(RecoveryCrashTest, CrashWhileTheCheckRepairs) {
  for_interrupted([&](const MemoryFileSystem& state) {
    const SectorHistory history(content_of(*state.clone(), sample_));
    CrashFileSystem files(state);
    CheckOptions options;
    options.repair = true;
    options.open = quiet_options();
    ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(files, sample_.image, options));
    EXPECT_EQ(report.exit_code(), 0);
    const CrashLimits limits{.exhaustive_pieces = 4, .of_each_family = 3, .random_subsets = 3};
    for (const std::size_t point : files.boundary_points()) {
      files.for_each_state(point, limits, [&](CrashState& crashed) {
        const auto wrong = judge_state(*crashed.file_system, point, sample_, history, initial_);
        ASSERT_FALSE(wrong) << *wrong;
      });
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Kinds, RecoveryCrashTest,
                         ::testing::Values(SampleKind::kSparse, SampleKind::kSplit,
                                           SampleKind::kChildZeroedGrains),
                         [](const auto& kind) { return to_string(kind.param); });

class RandomCrashTest : public ::testing::TestWithParam<SampleKind> {};

DiskOperation random_operation(BoundaryRandom& random, const SampleDisk& sample) {
  const DiskRange range = random.range(6 * kSampleGrain);
  switch (random.below(8)) {
    case 0:
      return {"flush", Kind::kFlush};
    case 1:
      if (sample.can_discard)
        return {"discard", Kind::kDiscard, range.at, range.length};
      [[fallthrough]];
    case 2:
      return {"zero", Kind::kZero, range.at, range.length};
    default:
      return {"write", Kind::kWrite, range.at, range.length};
  }
}

// Freed space is used again in these: discards, flushes and writes follow each other many times.
TEST_P(RandomCrashTest, LongSequence) {
  MemoryFileSystem initial;
  const SampleDisk sample = build_sample_disk(initial, GetParam());
  const std::uint32_t seeds = soak() ? 200 : 10;
  for (std::uint32_t seed = 1; seed <= seeds; ++seed) {
    BoundaryRandom random(
        {.capacity = sample.capacity(), .grain_size = kSampleGrain, .extents = {sample.border}},
        seed);
    std::vector<DiskOperation> operations;
    for (int i = 0; i < 40; ++i)
      operations.push_back(random_operation(random, sample));
    CrashRun run(initial, sample, sample.content);
    ASSERT_OK(run.run(operations));
    const auto broken = broken_rule(run, initial);
    ASSERT_FALSE(broken) << *broken;
    const CrashLimits limits{
        .exhaustive_pieces = 2, .of_each_family = 3, .random_subsets = 4, .seed = seed};
    const Sweep result = sweep(run, limits, initial, soak() ? 1 : 3);
    ASSERT_FALSE(result.violation) << *result.violation;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, RandomCrashTest, ::testing::ValuesIn(kAllSampleKinds),
                         [](const auto& kind) { return to_string(kind.param); });

}  // namespace
}  // namespace vmdk::test
