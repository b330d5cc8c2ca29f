// Crashes while an earlier crash is mended.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "crash/oracle.h"
#include "crash/tally.h"
#include "crash/workload.h"
#include "crash/write_rules.h"
#include "support/matchers.h"
#include "support/sample_disk.h"
#include "support/soak.h"

namespace vmdk::test {
namespace {

using Kind = DiskOperation::Kind;

class RecoveryCrashTest : public ::testing::TestWithParam<SampleKind> {
 protected:
  void SetUp() override { sample_ = build_sample_disk(initial_, GetParam()); }

  void TearDown() override { tally_.report(); }

  // Calls `use` with states that a crash left, of each sort that the check tells apart a few:
  // copies of the tables that differ, space that nobody uses, a free sector that is too high.
  void for_each_sort(const std::function<void(const MemoryFileSystem&)>& use) {
    CrashRun run(initial_, sample_, sample_.content);
    std::vector<DiskOperation> operations = {
        {"grains on both sides of the border", Kind::kWrite,
         sample_.border - 3 * kSampleGrain - 512, 6 * kSampleGrain},
        {"flush", Kind::kFlush},
    };
    if (sample_.can_discard)
      operations.push_back({"discard", Kind::kDiscard, kSampleGrain, 8 * kSampleGrain});
    operations.push_back({"again", Kind::kWrite, 9 * kSampleGrain - 512, 2 * kSampleGrain});
    ASSERT_OK(run.run(operations));
    std::map<std::string, std::size_t> sorts;
    const CrashLimits limits{.exhaustive_pieces = 4, .of_each_family = 2, .random_subsets = 2};
    run.files().for_each_state(run.files().boundary_points(), limits, [&](const CrashState& state) {
      const std::string sort = findings_of(*state.file_system, sample_);
      ASSERT_NE(sort[0], '2') << sort;
      if (sort[0] != '0' && (++sorts[sort] <= kMostOfASort || soak()))
        use(*state.file_system);
    });
    EXPECT_EQ(sorts.empty(), GetParam() == SampleKind::kFlat)
        << "a flat disk has nothing that a crash could leave";
  }

  CrashLimits limits() const {
    return soak() ? CrashLimits{}
                  : CrashLimits{.exhaustive_pieces = 4, .of_each_family = 3, .random_subsets = 3};
  }

  void judge(const Sweep& result) {
    ASSERT_FALSE(result.violation) << *result.violation;
    tally_.add(result);
  }

  static constexpr std::size_t kMostOfASort = 2;

  MemoryFileSystem initial_;
  SampleDisk sample_;
  Tally tally_;
};

TEST_P(RecoveryCrashTest, CrashWhileTheFirstWriteHeals) {
  for_each_sort([&](const MemoryFileSystem& state) {
    CrashRun run(state, sample_, content_of(state, sample_));
    ASSERT_OK(run.run({{"write", Kind::kWrite, 12 * kSampleGrain + 100, kSampleGrain}}));
    const auto broken = broken_rule(run, state);
    ASSERT_FALSE(broken) << *broken;
    judge(sweep(run, limits(), initial_));
  });
}

TEST_P(RecoveryCrashTest, CrashWhileTheCheckRepairs) {
  for_each_sort([&](const MemoryFileSystem& state) {
    judge(sweep_repair(state, sample_, limits(), initial_));
  });
}

INSTANTIATE_TEST_SUITE_P(Kinds, RecoveryCrashTest, ::testing::ValuesIn(writable_sample_kinds()),
                         [](const auto& kind) { return to_string(kind.param); });

}  // namespace
}  // namespace vmdk::test
