// Every call below the engine fails once, or from then on, with every errno that matters.

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "faults/fault_run.h"
#include "support/file_helpers.h"
#include "support/image_builder.h"
#include "support/matchers.h"

namespace vmdk::test {
namespace {

// Errors with which each n-th call of a kind fails.
struct Trouble {
  const char* name;
  std::vector<OpKind> kinds;
  std::vector<int> errors;
};

const Trouble kChanges{
    "changes", {OpKind::kWrite, OpKind::kGrow, OpKind::kResize}, {EIO, ENOSPC, EDQUOT, EFBIG}};
const Trouble kSyncs{"syncs", {OpKind::kSync}, {EIO, ENOSPC, EDQUOT}};
const Trouble kReads{"reads", {OpKind::kRead}, {EIO}};

class FaultTest : public ::testing::TestWithParam<SampleKind> {
 protected:
  // Calls `drive` once for every call of the trouble's kinds, and every errno.
  template <class Drive>
  void for_each_call(const Trouble& trouble, bool for_ever, std::uint64_t prefix, Drive drive) {
    std::uint64_t calls = 0;
    {
      FaultRun counting(GetParam());
      ASSERT_OK(counting.open());
      counting.faults().add({.kinds = trouble.kinds, .nth = 0});
      for (const DiskOperation& step : fault_steps(counting.sample()))
        ASSERT_OK(counting.step(step));
      ASSERT_OK(counting.close());
      calls = counting.faults().matched();
    }
    ASSERT_GT(calls, 0U);
    for (const int err : trouble.errors)
      for (std::uint64_t nth = 1; nth <= calls; ++nth) {
        SCOPED_TRACE(std::string(trouble.name) + ": call " + std::to_string(nth) + " of " +
                     std::to_string(calls) + " fails " + (for_ever ? "for ever" : "once") +
                     " with " + std::strerror(err));
        FaultRun run(GetParam());
        ASSERT_OK(run.open());
        run.faults().add({.kinds = trouble.kinds,
                          .nth = nth,
                          .for_ever = for_ever,
                          .err = err,
                          .prefix = prefix});
        drive(run, err);
        ASSERT_FALSE(HasFailure());
      }
  }

  // A step that fails once works when it is tried again, without reopening.
  static void drive_with_retries(FaultRun& run, int err) {
    unsigned failures = 0;
    for (const DiskOperation& step : fault_steps(run.sample())) {
      const Status status = run.step(step);
      if (status)
        continue;
      ++failures;
      EXPECT_THAT(status, FailsWith(err)) << step.label;
      EXPECT_EQ(run.wrong_content(), std::nullopt) << step.label;
      EXPECT_OK(run.disk().sticky_status());
      ASSERT_OK(run.step(step));
      EXPECT_EQ(run.wrong_content(), std::nullopt) << step.label;
    }
    const Status closed = run.close();
    if (!closed) {
      ++failures;
      EXPECT_THAT(closed, FailsWith(err));
    }
    EXPECT_EQ(failures, run.faults().failed());
    EXPECT_EQ(run.wrong_image(), std::nullopt);
  }
};

TEST_P(FaultTest, FailedChangeIsToldOnceAndCanBeRetried) {
  for_each_call(kChanges, false, 0, drive_with_retries);
}

TEST_P(FaultTest, TornWriteIsToldOnceAndCanBeRetried) {
  for_each_call({"torn writes", {OpKind::kWrite}, {EIO, ENOSPC}}, false, 700, drive_with_retries);
}

// All of the bytes arrive, and the call fails all the same.
TEST_P(FaultTest, WholeWriteThatFailsIsToldOnceAndCanBeRetried) {
  for_each_call({"written and failed", {OpKind::kWrite}, {EIO}}, false, kWholeWrite,
                drive_with_retries);
}

TEST_P(FaultTest, FailedReadIsToldOnceAndCanBeRetried) {
  for_each_call(kReads, false, 0, [](FaultRun& run, int err) {
    // The content is not looked at on the way: reading it would be hit.
    for (const DiskOperation& step : fault_steps(run.sample()))
      if (const Status status = run.step(step); !status) {
        EXPECT_THAT(status, FailsWith(err)) << step.label;
        ASSERT_OK(run.step(step));
      }
    ASSERT_OK(run.close());
    EXPECT_EQ(run.wrong_image(), std::nullopt);
  });
}

// Space runs out at some call; when some is there again everything works, without reopening.
TEST_P(FaultTest, FullHostRecoversWhenSpaceIsFreed) {
  const Trouble full{"full", {OpKind::kWrite, OpKind::kGrow}, {ENOSPC, EDQUOT}};
  for_each_call(full, true, 0, [](FaultRun& run, int err) {
    std::vector<DiskOperation> failed;
    for (const DiskOperation& step : fault_steps(run.sample()))
      if (const Status status = run.step(step); !status) {
        EXPECT_THAT(status, FailsWith(err)) << step.label;
        EXPECT_TRUE(status.error().code() == ErrorCode::kNoSpace);
        failed.push_back(step);
      }
    EXPECT_EQ(run.wrong_content(), std::nullopt);
    run.faults().clear();
    for (const DiskOperation& step : failed)
      ASSERT_OK(run.step(step));
    EXPECT_EQ(run.wrong_content(), std::nullopt);
    ASSERT_OK(run.close());
    EXPECT_EQ(run.wrong_image(), std::nullopt);
  });
}

TEST_P(FaultTest, BrokenHostLeavesASoundImage) {
  for_each_call(kChanges, true, 0, [](FaultRun& run, int err) {
    for (const DiskOperation& step : fault_steps(run.sample()))
      if (const Status status = run.step(step); !status) {
        EXPECT_THAT(status, FailsWith(err)) << step.label;
      }
    EXPECT_EQ(run.wrong_content(), std::nullopt);
    // Success only where nothing that was told to be written is missing: the image shows it.
    if (const Status closed = run.close(); !closed) {
      EXPECT_THAT(closed, FailsWith(err));
    }
    EXPECT_EQ(run.wrong_image(), std::nullopt);
  });
}

// One failed sync, and no later write or flush succeeds: the system may have lost what it held.
TEST_P(FaultTest, FailedSyncPoisons) {
  for_each_call(kSyncs, false, 0, [](FaultRun& run, int err) {
    bool poisoned = false;
    for (const DiskOperation& step : fault_steps(run.sample())) {
      const Status status = run.step(step);
      poisoned = poisoned || !status;
      EXPECT_EQ(status.has_value(), !poisoned) << step.label;
      if (poisoned) {
        EXPECT_THAT(status, FailsWith(err)) << step.label;
        EXPECT_THAT(run.disk().sticky_status(), FailsWith(err));
      }
    }
    EXPECT_EQ(run.wrong_content(), std::nullopt);
    EXPECT_THAT(run.close(), FailsWith(err));
    EXPECT_EQ(run.faults().failed(), 1U);
    EXPECT_EQ(run.wrong_image(), std::nullopt);
  });
}

TEST_P(FaultTest, HostThatCannotGrowOrPunchIsServedAllTheSame) {
  for (const OpKind kind : {OpKind::kGrow, OpKind::kPunch}) {
    FaultRun run(GetParam());
    ASSERT_OK(run.open());
    run.faults().add({.kinds = {kind}, .for_ever = true, .err = EOPNOTSUPP});
    for (const DiskOperation& step : fault_steps(run.sample()))
      ASSERT_OK(run.step(step));
    ASSERT_OK(run.step({"discard", DiskOperation::Kind::kZero, 3 * kSampleGrain, kSampleGrain}));
    EXPECT_EQ(run.wrong_content(), std::nullopt);
    ASSERT_OK(run.close());
    EXPECT_EQ(run.wrong_image(), std::nullopt);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, FaultTest, ::testing::ValuesIn(kAllSampleKinds),
                         [](const auto& kind) { return to_string(kind.param); });

TEST(ParentFaultTest, GrainOverAnUnreadableParentIsNotPublished) {
  FaultRun run(SampleKind::kChild);
  ASSERT_OK(run.open());
  const DiskOperation part{"part", DiskOperation::Kind::kWrite, 8 * kSampleGrain + 600, 100};
  run.faults().add({.kinds = {OpKind::kRead},
                    .matches = on_file(run.sample().parents[0]),
                    .for_ever = true,
                    .err = EIO});
  EXPECT_THAT(run.step(part), FailsWith(EIO));
  run.faults().clear();
  EXPECT_EQ(run.wrong_content(), std::nullopt);
  ASSERT_OK_AND_ASSIGN(const MapRun map, run.disk().map(DiskOffset(part.at), 1));
  EXPECT_EQ(map.layer, 1U);
  ASSERT_OK(run.step(part));
  EXPECT_EQ(run.wrong_content(), std::nullopt);
  ASSERT_OK(run.close());
  EXPECT_EQ(run.wrong_image(), std::nullopt);
}

TEST(FlatFaultTest, DiscardSaysThatTheHostCannotAndZeroWritesZeros) {
  MemoryFileSystem files;
  ASSERT_OK(build_flat(files, "/vm/disk.vmdk", {{.length = kMiB, .data = filled(kMiB, 7)}}));
  FaultyFileSystem faults(files);
  ASSERT_OK_AND_ASSIGN(auto disk, Disk::open(faults, "/vm/disk.vmdk", quiet_options()));
  faults.add({.kinds = {OpKind::kPunch}, .for_ever = true, .err = EOPNOTSUPP});
  EXPECT_THAT(disk->discard(DiskOffset(4096), 8192), FailsWith(EOPNOTSUPP));
  std::vector<std::byte> bytes(8192);
  ASSERT_OK(disk->read(DiskOffset(4096), bytes));
  EXPECT_EQ(bytes, filled(8192, 7));
  ASSERT_OK(disk->zero(DiskOffset(4096), 8192));
  ASSERT_OK(disk->read(DiskOffset(4096), bytes));
  EXPECT_EQ(bytes, filled(8192, 0));
  ASSERT_OK(disk->close());
}

}  // namespace
}  // namespace vmdk::test
