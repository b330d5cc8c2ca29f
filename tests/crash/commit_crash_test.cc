// Every crash of every short workload leaves a sound image.

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "crash/oracle.h"
#include "crash/tally.h"
#include "crash/workload.h"
#include "crash/write_rules.h"
#include "support/matchers.h"
#include "support/sample_disk.h"

namespace vmdk::test {
namespace {

using Kind = DiskOperation::Kind;

std::vector<SampleKind> all_kinds() {
  std::vector<SampleKind> kinds = writable_sample_kinds();
  kinds.insert(kinds.end(), std::begin(kForcedSampleKinds), std::end(kForcedSampleKinds));
  return kinds;
}

class CommitCrashTest : public ::testing::TestWithParam<SampleKind> {
 protected:
  void SetUp() override {
    sample_ = build_sample_disk(initial_, GetParam());
    is_metadata_ = metadata_of(sample_);
  }

  void TearDown() override { tally_.report(); }

  // What a crash before the last operation leaves is left out: it is that of a shorter sequence.
  // `most`: states of each point, without VMDK_SOAK.
  void expect_sound(const std::vector<DiskOperation>& operations, std::size_t most) {
    SCOPED_TRACE(label_of(operations));
    CrashRun run(initial_, sample_, sample_.content);
    ASSERT_OK(run.run(operations));
    if (!sample_.lacks_tables) {
      const auto broken = broken_rule(run, initial_);
      ASSERT_FALSE(broken) << *broken;
    }
    SweepPlan plan;
    plan.limits.is_metadata = is_metadata_;
    plan.limits.seed = ++sequences_;
    if (!soak())
      plan.limits.most = most;
    plan.from = operations.size() == 1 ? 0 : run.begin_of(operations.size() - 1) + 1;
    const Sweep result = sweep_points(run, plan, initial_);
    ASSERT_FALSE(result.violation) << *result.violation;
    ASSERT_GT(result.states, 0U);
    const bool flushes = std::any_of(operations.begin(), operations.end(),
                                     [](const auto& one) { return one.kind == Kind::kFlush; });
    ASSERT_EQ(result.after_flush > 0, flushes);
    tally_.add(result);
  }

  MemoryFileSystem initial_;
  SampleDisk sample_;
  std::function<bool(const std::string&, std::uint64_t)> is_metadata_;
  std::size_t sequences_ = 0;
  Tally tally_;
};

TEST_P(CommitCrashTest, OneOperation) {
  for (const DiskOperation& operation : operations_for(sample_))
    ASSERT_NO_FATAL_FAILURE(expect_sound({operation}, 8));
}

TEST_P(CommitCrashTest, TwoOperations) {
  const auto operations = operations_for(sample_);
  for (const DiskOperation& first : operations)
    for (const DiskOperation& second : operations)
      ASSERT_NO_FATAL_FAILURE(expect_sound({first, second}, 2));
}

TEST_P(CommitCrashTest, NothingIsWrittenBeforeTheFirstWrite) {
  for (const Access access : {Access::kReadOnly, Access::kReadWrite}) {
    CrashFileSystem files(initial_);
    OpenOptions options = write_options(sample_);
    options.access = access;
    ASSERT_OK_AND_ASSIGN(const auto disk, Disk::open(files, sample_.image, options));
    std::vector<std::byte> content(sample_.capacity());
    ASSERT_OK(disk->read(DiskOffset(), content));
    EXPECT_EQ(sample_.content.difference(0, content), std::nullopt);
    ASSERT_OK(disk->flush());
    ASSERT_OK(disk->close());
    EXPECT_TRUE(files.log().empty()) << to_string(files.log().front());
  }
}

TEST_P(CommitCrashTest, ParentsNeedNoWritePermission) {
  for (const std::string& parent : sample_.parents)
    initial_.set_permissions(parent, 0400);
  ASSERT_NO_FATAL_FAILURE(expect_sound({operations_for(sample_)[1]}, 8));
}

INSTANTIATE_TEST_SUITE_P(Kinds, CommitCrashTest, ::testing::ValuesIn(all_kinds()),
                         [](const auto& kind) { return to_string(kind.param); });

}  // namespace
}  // namespace vmdk::test
