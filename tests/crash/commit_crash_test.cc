// Every crash of every short workload leaves a sound image.

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "crash/oracle.h"
#include "crash/workload.h"
#include "crash/write_rules.h"
#include "support/matchers.h"
#include "support/sample_disk.h"

namespace vmdk::test {
namespace {

bool soak() {
  return std::getenv("VMDK_SOAK") != nullptr;
}

CrashLimits limits_for(std::size_t operations) {
  if (soak())
    return {};
  if (operations == 1)
    return {.exhaustive_pieces = 5, .of_each_family = 5, .random_subsets = 6};
  return {.exhaustive_pieces = 2, .of_each_family = 2, .random_subsets = 2};
}

class CommitCrashTest : public ::testing::TestWithParam<SampleKind> {
 protected:
  void SetUp() override { sample_ = build_sample_disk(initial_, GetParam()); }

  void expect_sound(const std::vector<DiskOperation>& operations) {
    std::string label;
    for (const DiskOperation& operation : operations)
      label += (label.empty() ? "" : ", then ") + operation.label;
    SCOPED_TRACE(label);
    CrashRun run(initial_, sample_, sample_.content);
    const Status status = run.run(operations);
    ASSERT_TRUE(status) << status.error().to_text();
    const auto broken = broken_rule(run, initial_);
    ASSERT_FALSE(broken) << *broken;
    const Sweep result = sweep(run, limits_for(operations.size()), initial_);
    ASSERT_FALSE(result.violation) << *result.violation;
    ASSERT_GT(result.states, 0U);
    states_ += result.states;
  }

  void TearDown() override {
    RecordProperty("states", std::to_string(states_));
    std::printf("states %zu\n", states_);
  }

  MemoryFileSystem initial_;
  SampleDisk sample_;
  std::size_t states_ = 0;
};

TEST_P(CommitCrashTest, OneOperation) {
  for (const DiskOperation& operation : operations_for(sample_))
    ASSERT_NO_FATAL_FAILURE(expect_sound({operation}));
}

TEST_P(CommitCrashTest, TwoOperations) {
  const auto operations = operations_for(sample_);
  for (const DiskOperation& first : operations)
    for (const DiskOperation& second : operations)
      ASSERT_NO_FATAL_FAILURE(expect_sound({first, second}));
}

TEST_P(CommitCrashTest, NothingIsWrittenBeforeTheFirstWrite) {
  for (const Access access : {Access::kReadOnly, Access::kReadWrite}) {
    CrashFileSystem files(initial_);
    auto disk = Disk::open(files, sample_.image, quiet_options(access));
    ASSERT_TRUE(disk) << disk.error().to_text();
    std::vector<std::byte> content(sample_.capacity());
    ASSERT_OK((*disk)->read(DiskOffset(), content));
    EXPECT_EQ(sample_.content.difference(0, content), std::nullopt);
    ASSERT_OK((*disk)->flush());
    ASSERT_OK((*disk)->close());
    EXPECT_TRUE(files.log().empty()) << to_string(files.log().front());
  }
}

TEST_P(CommitCrashTest, ParentsNeedNoWritePermission) {
  for (const std::string& parent : sample_.parents)
    initial_.set_permissions(parent, 0400);
  ASSERT_NO_FATAL_FAILURE(expect_sound({operations_for(sample_)[1]}));
}

INSTANTIATE_TEST_SUITE_P(Kinds, CommitCrashTest, ::testing::ValuesIn(kAllSampleKinds),
                         [](const auto& kind) { return to_string(kind.param); });

}  // namespace
}  // namespace vmdk::test
