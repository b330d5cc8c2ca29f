// Every crash of every short workload leaves a sound image.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <ostream>
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

std::vector<SampleKind> all_kinds() {
  std::vector<SampleKind> kinds = writable_sample_kinds();
  kinds.insert(kinds.end(), std::begin(kForcedSampleKinds), std::end(kForcedSampleKinds));
  return kinds;
}

class ShortWorkloadTest : public ::testing::Test {
 protected:
  explicit ShortWorkloadTest(SampleKind kind) : sample_(build_sample_disk(initial_, kind)) {}

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
    plan.limits.seed = ++seed_;
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
  const SampleDisk sample_;
  const std::function<bool(const std::string&, std::uint64_t)> is_metadata_ = metadata_of(sample_);
  std::uint64_t seed_ = 0;  // of the last sequence; each has one of its own
  Tally tally_;
};

class CommitCrashTest : public ShortWorkloadTest, public ::testing::WithParamInterface<SampleKind> {
 protected:
  CommitCrashTest() : ShortWorkloadTest(GetParam()) {}
};

TEST_P(CommitCrashTest, OneOperation) {
  for (const DiskOperation& operation : operations_for(sample_))
    ASSERT_NO_FATAL_FAILURE(expect_sound({operation}, 8));
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

struct Beginning {
  SampleKind kind;
  std::size_t first;  // operation
};

void PrintTo(const Beginning& beginning, std::ostream* out) {
  *out << to_string(beginning.kind) << ", operation " << beginning.first;
}

std::vector<Beginning> all_beginnings() {
  std::vector<Beginning> beginnings;
  for (const SampleKind kind : all_kinds()) {
    MemoryFileSystem files;
    const std::size_t count = operations_for(build_sample_disk(files, kind)).size();
    for (std::size_t first = 0; first < count; ++first)
      beginnings.push_back({kind, first});
  }
  return beginnings;
}

// A test for each first operation: so the long runs can be divided.
class PairCrashTest : public ShortWorkloadTest, public ::testing::WithParamInterface<Beginning> {
 protected:
  PairCrashTest() : ShortWorkloadTest(GetParam().kind) {}
};

TEST_P(PairCrashTest, TwoOperations) {
  const auto operations = operations_for(sample_);
  seed_ = GetParam().first * operations.size();
  for (const DiskOperation& second : operations)
    ASSERT_NO_FATAL_FAILURE(expect_sound({operations.at(GetParam().first), second}, 2));
}

INSTANTIATE_TEST_SUITE_P(Kinds, PairCrashTest, ::testing::ValuesIn(all_beginnings()),
                         [](const auto& beginning) {
                           return to_string(beginning.param.kind) + std::string("_") +
                                  std::to_string(beginning.param.first);
                         });

}  // namespace
}  // namespace vmdk::test
