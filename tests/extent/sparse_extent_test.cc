#include "extent/sparse_extent.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "sparse_fixture.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kGrain = 4 * kKiB;

class SparseExtentTest : public SparseFixture {
 protected:
  // Fills [at, at + bytes) of a free grain and publishes it.
  void fill(SparseExtent& extent, std::uint64_t at, const std::vector<std::byte>& bytes) {
    auto attempt = extent.allocate(ExtentOffset(at), bytes.size());
    ASSERT_OK(attempt);
    ASSERT_TRUE(attempt->allocation);
    const iovec part = part_of(bytes);
    ASSERT_OK(attempt->allocation->fill(at - attempt->allocation->begin().bytes(), {&part, 1}));
    std::move(*attempt->allocation).publish();
  }

  void commit(SparseExtent& extent) {
    const auto commit = extent.begin_commit();
    ASSERT_OK(commit->prepare());
    ASSERT_OK(commit->write_tables());
    ASSERT_OK(commit->write_names());
    commit->finish(true);
  }

  std::vector<std::byte> read_run(SparseExtent& extent, std::uint64_t at, std::uint64_t length) {
    const auto run = extent.lookup(ExtentOffset(at), length);
    EXPECT_OK(run);
    std::vector<std::byte> bytes(length, std::byte{0xEE});
    EXPECT_EQ(run->kind, RunKind::kData);
    EXPECT_EQ(run->length, length);
    EXPECT_OK(extent.read(run->where, bytes));
    return bytes;
  }
};

TEST_F(SparseExtentTest, LookupsCutRunsToWhatWasAsked) {
  make(small_spec(2 * kMiB + 3 * kSectorSize, {grain_of(0, 1), grain_of(1, 2)}));
  ASSERT_OK_AND_ASSIGN(const auto extent, this->extent());
  ASSERT_OK_AND_ASSIGN(const vmdk::Run run, extent->lookup(ExtentOffset(100), 5000));
  EXPECT_EQ(run.kind, RunKind::kData);
  EXPECT_EQ(run.length, 5000U);
  EXPECT_EQ(run.where.bytes(), built_.data.at(0) + 100);
  ASSERT_OK_AND_ASSIGN(const vmdk::Run hole,
                       extent->lookup(ExtentOffset(2 * kGrain + 1), 1'000'000'000));
  EXPECT_EQ(hole.kind, RunKind::kHole);
  EXPECT_EQ(hole.length, extent->size() - 2 * kGrain - 1);
}

// Of a partial grain in fresh space only the user's bytes are written: the rest reads as zero,
// although the file is shorter.
TEST_F(SparseExtentTest, ShortReadsOfOurOwnFreshGrainsAreZeros) {
  make(small_spec(2 * kMiB));
  ASSERT_OK_AND_ASSIGN(const auto extent, this->extent());
  fill(*extent, 0, filled(10, 0xAA));
  ASSERT_LT(memory_.size(kExtentPath), built_.file_size + kGrain);
  auto wanted = filled(10, 0xAA);
  wanted.resize(kGrain);
  EXPECT_EQ(read_run(*extent, 0, kGrain), wanted);
  commit(*extent);
  EXPECT_EQ(memory_.size(kExtentPath), built_.file_size + kGrain) << "the commit makes it whole";
}

TEST_F(SparseExtentTest, ShortReadsAnywhereElseFail) {
  make(small_spec(2 * kMiB, {grain_of(0, 1)}));
  ASSERT_OK_AND_ASSIGN(const auto writable, this->extent());
  memory_.truncate(kExtentPath, built_.file_size - 1);  // behind our back
  std::vector<std::byte> bytes(kGrain);
  const FileOffset where(built_.data.at(0));
  EXPECT_THAT(writable->read(where, bytes),
              HasMessage("in the middle of a grain; it has been cut"));
  EXPECT_THAT(writable->read(FileOffset(built_.file_size + kGrain), bytes), IsError(ErrorCode::kIo))
      << "behind all that was handed out";
  ASSERT_OK_AND_ASSIGN(const auto readonly, this->extent(false));
  EXPECT_THAT(readonly->read(where, bytes), FailsWith(EIO));
}

TEST_F(SparseExtentTest, AnAllocationThatIsDroppedLeavesNoTrace) {
  make(small_spec(2 * kMiB));
  ASSERT_OK_AND_ASSIGN(const auto extent, this->extent());
  const std::uint64_t where = [&] {
    auto attempt = extent->allocate(ExtentOffset(0), 2 * kGrain);
    const iovec part = part_of(bytes_of("x"));
    EXPECT_OK(attempt->allocation->fill(0, {&part, 1}));
    auto busy = extent->allocate(ExtentOffset(kGrain), 1);
    EXPECT_FALSE(busy->allocation);
    EXPECT_TRUE(busy->busy);
    return memory_.size(kExtentPath) - 1;
  }();
  EXPECT_FALSE(extent->has_uncommitted());
  ASSERT_OK_AND_ASSIGN(const vmdk::Run run, extent->lookup(ExtentOffset(0), kGrain));
  EXPECT_EQ(run.kind, RunKind::kHole);
  // The space was written to: it is not fresh any more, and whole grains take it first.
  auto partial = extent->allocate(ExtentOffset(64 * kGrain + 1), 5);
  EXPECT_TRUE(partial->allocation->fresh());
  auto whole = extent->allocate(ExtentOffset(128 * kGrain), kGrain);
  EXPECT_FALSE(whole->allocation->fresh());
  const iovec part = part_of(bytes_of("y"));
  ASSERT_OK(whole->allocation->fill(0, {&part, 1}));
  EXPECT_EQ(memory_.bytes(kExtentPath, where, 1), filled(1, 'y'));
}

TEST_F(SparseExtentTest, AllocationsTellWhatShowedBefore) {
  SparseSpec spec = small_spec(2 * kMiB, {entry_of(1, 1)});
  spec.zeroed_grains = true;
  make(spec);
  ASSERT_OK_AND_ASSIGN(const auto extent, this->extent());
  EXPECT_TRUE(extent->can_hide_parent());
  auto attempt = extent->allocate(ExtentOffset(5), kGrain);
  ASSERT_TRUE(attempt->allocation);
  EXPECT_EQ(attempt->allocation->length(), 2 * kGrain);
  EXPECT_TRUE(attempt->allocation->first_shows_parent());
  EXPECT_FALSE(attempt->allocation->last_shows_parent());
}

TEST_F(SparseExtentTest, TheMarkIsSetOnceAndTakenAway) {
  make(small_spec(2 * kMiB));
  ASSERT_OK_AND_ASSIGN(const auto extent, this->extent());
  EXPECT_FALSE(marked());
  ASSERT_OK(extent->clear_mark());
  ASSERT_OK(extent->trim());
  EXPECT_FALSE(file_->has_unsynced_writes()) << "an extent that was not written is not touched";
  ASSERT_OK(extent->mark_unclean());
  EXPECT_TRUE(marked());
  ASSERT_OK(file_->sync());
  ASSERT_OK(extent->mark_unclean());
  EXPECT_FALSE(file_->has_unsynced_writes());
  ASSERT_OK(extent->clear_mark());
  EXPECT_FALSE(marked());
}

TEST_F(SparseExtentTest, TrimCutsWhatNoGrainUses) {
  make(small_spec(2 * kMiB));
  ASSERT_OK_AND_ASSIGN(const auto extent, this->extent());
  ASSERT_OK(extent->mark_unclean());
  fill(*extent, 3 * kGrain, filled(kGrain, 1));
  {
    auto lost = extent->allocate(ExtentOffset(100 * kGrain), kGrain);
    const auto bytes = filled(kGrain, 9);
    const iovec part = part_of(bytes);
    ASSERT_OK(lost->allocation->fill(0, {&part, 1}));
  }
  commit(*extent);
  EXPECT_EQ(memory_.size(kExtentPath), built_.file_size + 2 * kGrain);
  ASSERT_OK(extent->trim());
  EXPECT_EQ(memory_.size(kExtentPath), built_.file_size + kGrain);
}

TEST_F(SparseExtentTest, ClearedGrainsAreDroppedByTheCommitAndUsedAgain) {
  make(small_spec(2 * kMiB, {grain_of(0, 1), grain_of(1, 2)}));
  ASSERT_OK_AND_ASSIGN(const auto extent, this->extent());
  ASSERT_OK(extent->clear(ExtentOffset(0), kGrain, ClearTo::kHole));
  EXPECT_EQ(memory_.bytes(kExtentPath, built_.data.at(0), 1), filled(1, 1))
      << "a crash before the commit must still find it";
  commit(*extent);
  EXPECT_EQ(entry(0), 0U);
  EXPECT_EQ(memory_.bytes(kExtentPath, built_.data.at(0), kGrain), filled(kGrain, 0)) << "punched";
  fill(*extent, 9 * kGrain, filled(kGrain, 7));
  EXPECT_EQ(memory_.bytes(kExtentPath, built_.data.at(0), kGrain), filled(kGrain, 7));
}

TEST_F(SparseExtentTest, ACommitDroppedUnfinishedCountsAsFailed) {
  make(small_spec(2 * kMiB, {grain_of(0, 1)}));
  ASSERT_OK_AND_ASSIGN(const auto extent, this->extent());
  ASSERT_OK(extent->clear(ExtentOffset(0), kGrain, ClearTo::kHole));
  EXPECT_TRUE(extent->begin_commit()->has_tables());
  EXPECT_TRUE(extent->has_uncommitted());
  fill(*extent, 9 * kGrain, filled(kGrain, 7));
  EXPECT_EQ(memory_.bytes(kExtentPath, built_.data.at(0), 1), filled(1, 1)) << "reused too early";
  commit(*extent);
  EXPECT_FALSE(extent->has_uncommitted());
}

// A file system without fallocate: the file grows by its length.
TEST_F(SparseExtentTest, GrowthWithoutAllocation) {
  make(small_spec(2 * kMiB));
  ASSERT_OK_AND_ASSIGN(const auto extent, this->extent());
  fill(*extent, 0, filled(10, 0xAA));
  files_.add({.kinds = {OpKind::kGrow}, .for_ever = true, .err = EOPNOTSUPP});
  commit(*extent);
  EXPECT_GE(memory_.size(kExtentPath), built_.file_size + kGrain);
  files_.clear();
  fill(*extent, 50 * kGrain, filled(10, 0xBB));
  files_.add({.kinds = {OpKind::kGrow}, .err = ENOSPC});
  const auto failing = extent->begin_commit();
  EXPECT_THAT(failing->prepare(), FailsWith(ENOSPC));
}

TEST_F(SparseExtentTest, AnInterruptedCommitIsFinishedBeforeTheFirstWrite) {
  SparseSpec spec = small_spec(6 * kMiB, {grain_of(0, 1), grain_of(600, 2)});
  spec.unclean = true;
  make(spec);
  set_entry(600, 0, TableCopies::kPrimary);  // redundant first: the primary is the old state
  ASSERT_OK_AND_ASSIGN(const auto extent, this->extent());
  ASSERT_OK_AND_ASSIGN(const vmdk::Run run, extent->lookup(ExtentOffset(600 * kGrain), kGrain));
  EXPECT_EQ(run.kind, RunKind::kHole) << "reads follow the primary";
  EXPECT_NE(entry(600, true), 0U) << "opening changes nothing";
  ASSERT_OK(extent->heal());
  EXPECT_EQ(entry(600, true), 0U);
  EXPECT_EQ(entry(0, true), entry(0));
  EXPECT_TRUE(marked());
  ASSERT_OK(extent->clear_mark());
  EXPECT_FALSE(marked());
}

TEST_F(SparseExtentTest, DamageIsNotOpenedForWriting) {
  make(small_spec(6 * kMiB, {grain_of(0, 1), grain_of(600, 2)}));
  set_entry(600, 0, TableCopies::kRedundant);
  EXPECT_THAT(extent(), HasMessage("differ in 1 entries although it was closed cleanly"));
  EXPECT_THAT(extent(), HasMessage("--repair=tables"));
  EXPECT_OK(extent(false));
  set_entry(600, sector_of(0), TableCopies::kBoth);
  EXPECT_THAT(extent(), HasMessage("its grain tables are damaged: grain 600"));
  EXPECT_OK(extent(false));
  memory_.poke(kExtentPath, kUncleanMarkOffset, filled(1, 1));
  reopen();
  EXPECT_THAT(extent(), IsError(ErrorCode::kCorrupt)) << "the mark excuses no damage";
  set_entry(600, sector_of(600), TableCopies::kPrimary);
  EXPECT_THAT(extent(), HasMessage("the redundant one is damaged"));
}

TEST_F(SparseExtentTest, MissingTablesAreNotOpenedForWriting) {
  SparseSpec spec = small_spec(6 * kMiB);
  spec.missing_tables = {1};
  make(spec);
  EXPECT_THAT(extent(), IsError(ErrorCode::kUnsupported));
  EXPECT_THAT(extent(), HasMessage("some of its grain tables are missing"));
  EXPECT_OK(extent(false));
}

}  // namespace
}  // namespace vmdk::test
