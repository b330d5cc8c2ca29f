// Every crash of a session that adds missing tables leaves an image that can be written to again.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/check.h>

#include "base/bytes.h"
#include "crash/meddling_file_system.h"
#include "crash/oracle.h"
#include "crash/workload.h"
#include "support/matchers.h"
#include "support/sample_disk.h"

namespace vmdk::test {
namespace {

using Kind = DiskOperation::Kind;

constexpr std::uint64_t kMissing = 1;  // the table

std::uint32_t name_of(const MemoryFileSystem& files, const SampleDisk& sample, bool redundant) {
  const std::uint64_t at = sample.extents[0].built.directory_entry_at(kMissing, redundant);
  return load_le32(files.bytes(sample.image, at, 4), 0);
}

class MissingTablesCrashTest : public ::testing::TestWithParam<SampleKind> {
 protected:
  void SetUp() override { sample_ = build_sample_disk(initial_, GetParam()); }

  DiskOperation in_the_missing_table() const {
    return {"in the missing table", Kind::kWrite, sample_.border + 512, 2 * kSampleGrain};
  }

  MemoryFileSystem initial_;
  SampleDisk sample_;
};

// One and two operations are in CommitCrashTest.
TEST_P(MissingTablesCrashTest, AnotherOperationAfterTheTableWasAdded) {
  const CrashLimits limits{.exhaustive_pieces = 3, .of_each_family = 3, .random_subsets = 3};
  for (const DiskOperation& second : operations_for(sample_)) {
    const std::vector<DiskOperation> operations = {
        in_the_missing_table(), {"flush", Kind::kFlush}, second};
    SCOPED_TRACE(label_of(operations));
    CrashRun run(initial_, sample_, sample_.content);
    ASSERT_OK(run.run(operations));
    const Sweep result = sweep(run, limits, initial_);
    ASSERT_FALSE(result.violation) << *result.violation;
    ASSERT_GT(result.states, 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, MissingTablesCrashTest, ::testing::ValuesIn(kForcedSampleKinds),
                         [](const auto& kind) { return to_string(kind.param); });

class HalfNamedTableTest : public ::testing::Test {
 protected:
  void SetUp() override { sample_ = build_sample_disk(initial_, SampleKind::kMissingTable); }

  // Calls `use` with each state in which one directory alone names the table.
  void for_half_named(const std::function<void(const MemoryFileSystem&)>& use) {
    CrashRun run(initial_, sample_, sample_.content);
    ASSERT_OK(run.run({{"write", Kind::kWrite, sample_.border + 512, 2 * kSampleGrain}}));
    std::size_t found = 0;
    for (const std::size_t point : run.files().boundary_points()) {
      run.files().for_each_state(point, {.exhaustive_pieces = 6}, [&](CrashState& state) {
        const std::uint32_t redundant = name_of(*state.file_system, sample_, true);
        const std::uint32_t primary = name_of(*state.file_system, sample_, false);
        if ((redundant == 0) == (primary == 0))
          return;
        ++found;
        EXPECT_EQ(primary, 0U) << "the redundant directory goes first, and durably";
        use(*state.file_system);
      });
    }
    EXPECT_GT(found, 0U);
  }

  MemoryFileSystem initial_;
  SampleDisk sample_;
};

TEST_F(HalfNamedTableTest, IsAnInterruptedCommit) {
  for_half_named([&](const MemoryFileSystem& state) {
    const auto files = state.clone();
    CheckOptions options;
    options.open = quiet_options(Access::kReadOnly);
    ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(*files, sample_.image, options));
    EXPECT_EQ(report.exit_code(), 3);
    ASSERT_OK_AND_ASSIGN(const auto disk,
                         Disk::open(*files, sample_.image, write_options(sample_)));
    EXPECT_EQ(files->contents(sample_.image), state.contents(sample_.image))
        << "nothing is written before the first write";
    // In the other table: the name goes all the same, before its space is used again.
    const auto bytes = tagged('x', 1, 8 * kSampleGrain);
    ASSERT_OK(disk->write(DiskOffset(12 * kSampleGrain), bytes));
    EXPECT_EQ(name_of(*files, sample_, true), 0U);
    ASSERT_OK(disk->close());
  });
}

// The space that the half-named table and its grains take is given to others in these.
TEST_F(HalfNamedTableTest, CrashWhileTheFirstWriteHeals) {
  for_half_named([&](const MemoryFileSystem& state) {
    CrashRun run(state, sample_, content_of(state, sample_));
    ASSERT_OK(run.run({{"write", Kind::kWrite, 12 * kSampleGrain, 3 * kSampleGrain},
                       {"flush", Kind::kFlush},
                       {"in the table", Kind::kWrite, sample_.border, kSampleGrain}}));
    const Sweep result =
        sweep(run, {.exhaustive_pieces = 4, .of_each_family = 3, .random_subsets = 3}, initial_);
    ASSERT_FALSE(result.violation) << *result.violation;
  });
}

TEST_F(HalfNamedTableTest, CrashWhileTheCheckRepairs) {
  for_half_named([&](const MemoryFileSystem& state) {
    const Sweep result = sweep_repair(state, sample_, {.exhaustive_pieces = 5}, initial_);
    ASSERT_FALSE(result.violation) << *result.violation;
  });
}

TEST_F(HalfNamedTableTest, TheSweepSeesAnEngineWithoutTheBarrierBetweenTheNames) {
  const BuiltSparse& built = sample_.extents[0].built;
  const std::uint64_t redundant = built.directory_entry_at(kMissing, true);
  const std::uint64_t primary = built.directory_entry_at(kMissing, false);
  auto between = std::make_shared<bool>(false);
  const Meddling meddling{.write =
                              [=](File& file, FileOffset at, std::span<const iovec> parts) {
                                *between =
                                    at.bytes() == redundant || (*between && at.bytes() != primary);
                                return file.write(at, parts);
                              },
                          .sync = [=](File& file) { return *between ? Status{} : file.sync(); }};
  CrashRun run(initial_, sample_, sample_.content);
  ASSERT_OK(run.run(
      {{"write", Kind::kWrite, sample_.border + 512, kSampleGrain}},
      [&](FileSystem& below) { return std::make_unique<MeddlingFileSystem>(below, meddling); }));
  EXPECT_TRUE(sweep(run, {.exhaustive_pieces = 6}, initial_).violation);
}

}  // namespace
}  // namespace vmdk::test
