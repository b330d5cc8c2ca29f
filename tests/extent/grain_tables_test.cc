// Each edge of the drawings in grain_entry.h and grain_tables.h.
#include "extent/grain_tables.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "sparse_fixture.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kTable = kEntriesPerTable;

class GrainTablesTest : public SparseFixture {
 protected:
  // The state of one grain, or kBad with a failure.
  GrainState state(GrainTables& tables, std::uint64_t grain) {
    const auto run = tables.scan(grain, 1);
    EXPECT_OK(run);
    return run ? run->state : GrainState::kBad;
  }

  void commit(GrainTables& tables) {
    const TableSnapshot snapshot = tables.take_snapshot();
    ASSERT_OK(tables.write_copies(snapshot, *file_));
    tables.finish_commit(snapshot, true);
  }

  // Reads so many other tables that the clock has passed everything twice.
  void push_out(GrainTables& tables) {
    for (int round = 0; round < 4; ++round)
      for (std::uint64_t table = 1; table < tables.table_count(); ++table)
        ASSERT_OK(tables.scan(table * kTable, 1));
  }
};

TEST(GrainEntryTest, ClaimsReadAndAreWrittenAsWhatTheyWere) {
  for (const GrainEntry entry : {GrainEntry::none(), GrainEntry::zero()}) {
    ASSERT_TRUE(entry.is_claimable());
    ASSERT_FALSE(entry.is_claimed());
    EXPECT_TRUE(entry.claimed().is_claimed());
    EXPECT_FALSE(entry.claimed().is_claimable());
    EXPECT_EQ(entry.claimed().settled(), entry);
    EXPECT_EQ(entry.claimed().on_disk(), entry.on_disk());
  }
  EXPECT_EQ(GrainEntry::none().on_disk(), 0U);
  EXPECT_EQ(GrainEntry::zero().on_disk(), 1U);
  EXPECT_EQ(GrainEntry(), GrainEntry::none());
}

TEST(GrainEntryTest, DataAndBadEntriesKeepAllBits) {
  for (const GrainEntry entry : {GrainEntry::data(0xFFFFFFFF), GrainEntry::bad(0xFFFFFFFF)}) {
    EXPECT_FALSE(entry.is_claimable());
    EXPECT_FALSE(entry.is_claimed());
    EXPECT_EQ(entry.settled(), entry);
    EXPECT_EQ(entry.on_disk(), 0xFFFFFFFFU);
  }
  EXPECT_EQ(GrainEntry::data(128).sector(), 128U);
}

TEST_F(GrainTablesTest, EntriesAreDecoded) {
  SparseSpec spec = small_spec(2 * kMiB, {grain_of(0, 1), grain_of(1, 2), entry_of(3, 1),
                                          entry_of(4, 2), entry_of(5, 0x7FFFFFFF)});
  spec.zeroed_grains = true;
  make(spec);
  const auto tables = this->tables();
  ASSERT_OK_AND_ASSIGN(const GrainRun data, tables->scan(0, kTable));
  EXPECT_EQ(data.state, GrainState::kData);
  EXPECT_EQ(data.count, 2U);
  EXPECT_EQ(data.sector, sector_of(0));
  EXPECT_EQ(state(*tables, 2), GrainState::kNone);
  EXPECT_EQ(state(*tables, 3), GrainState::kZero);
  EXPECT_EQ(state(*tables, 4), GrainState::kBad) << "inside the metadata";
  EXPECT_EQ(state(*tables, 5), GrainState::kBad) << "behind the end of the file";
}

TEST_F(GrainTablesTest, OneIsBadWithoutZeroedGrains) {
  make(small_spec(2 * kMiB, {entry_of(3, 1)}));
  EXPECT_EQ(state(*tables(), 3), GrainState::kBad);
}

TEST_F(GrainTablesTest, RunsEndWhereTheFileJumps) {
  make(small_spec(2 * kMiB, {grain_of(1, 1), grain_of(0, 2), grain_of(2, 3)}));
  const auto tables = this->tables();
  ASSERT_OK_AND_ASSIGN(const GrainRun run, tables->scan(0, 3));
  EXPECT_EQ(run.count, 1U);
  EXPECT_EQ(run.sector, sector_of(0));
}

TEST_F(GrainTablesTest, RunsPassTableBordersAndEndWithTheExtent) {
  make(small_spec(5 * kMiB + kSectorSize));
  const auto tables = this->tables();
  ASSERT_OK_AND_ASSIGN(const GrainRun run, tables->scan(kTable - 1, 1'000'000));
  EXPECT_EQ(run.state, GrainState::kNone);
  EXPECT_EQ(run.count, ceil_div(5 * kMiB + kSectorSize, 4 * kKiB) - (kTable - 1));
  EXPECT_EQ(cache_.tables_in_memory(), 0U) << "stretches that hold nothing cost no memory";
}

TEST_F(GrainTablesTest, ClaimPublishCommit) {
  make(small_spec(4 * kMiB));
  const auto tables = this->tables();
  const std::uint64_t first = kTable - 1;  // over the border of two tables
  ASSERT_OK_AND_ASSIGN(const GrainClaim claim, tables->claim(first, 2));
  EXPECT_EQ(claim.count, 2U);
  EXPECT_TRUE(claim.first_was_none && claim.last_was_none);
  EXPECT_EQ(state(*tables, first), GrainState::kNone) << "a claim reads as what it was";
  EXPECT_FALSE(tables->has_dirty());
  tables->publish(first, 2, 1024);
  ASSERT_OK_AND_ASSIGN(const GrainRun run, tables->scan(first, 2));
  EXPECT_EQ(run.state, GrainState::kData);
  EXPECT_EQ(run.count, 2U);
  EXPECT_EQ(run.sector, 1024U);
  EXPECT_TRUE(tables->has_dirty());
  EXPECT_EQ(entry(first), 0U) << "the file changes only in a commit";

  const TableSnapshot snapshot = tables->take_snapshot();
  EXPECT_EQ(snapshot.sectors.size(), 2U) << "only the 512-byte sectors that changed";
  EXPECT_EQ(snapshot.highest_end, 1032 * kSectorSize + 4 * kKiB);
  ASSERT_OK(tables->write_copies(snapshot, *file_));
  tables->finish_commit(snapshot, true);
  EXPECT_FALSE(tables->has_dirty());
  EXPECT_TRUE(tables->take_snapshot().empty());
  for (const bool redundant : {false, true}) {
    EXPECT_EQ(entry(first, redundant), 1024U);
    EXPECT_EQ(entry(first + 1, redundant), 1032U);
  }
}

TEST_F(GrainTablesTest, AbandonedClaimsAreWhatTheyWere) {
  SparseSpec spec = small_spec(2 * kMiB, {entry_of(1, 1)});
  spec.zeroed_grains = true;
  make(spec);
  const auto tables = this->tables();
  ASSERT_OK_AND_ASSIGN(const GrainClaim claim, tables->claim(0, 2));
  EXPECT_TRUE(claim.first_was_none);
  EXPECT_FALSE(claim.last_was_none);
  EXPECT_EQ(state(*tables, 1), GrainState::kZero);
  tables->abandon(0, 2);
  EXPECT_EQ(state(*tables, 0), GrainState::kNone);
  EXPECT_EQ(state(*tables, 1), GrainState::kZero);
  EXPECT_FALSE(tables->has_dirty());
  ASSERT_OK_AND_ASSIGN(const GrainClaim again, tables->claim(0, 2));
  EXPECT_EQ(again.count, 2U);
  tables->abandon(0, 2);
}

TEST_F(GrainTablesTest, ClaimsEndBeforeWhatIsNotFree) {
  make(small_spec(2 * kMiB, {grain_of(2, 1), entry_of(5, 2)}));
  const auto tables = this->tables();
  ASSERT_OK_AND_ASSIGN(const GrainClaim before, tables->claim(0, 8));
  EXPECT_EQ(before.count, 2U);
  ASSERT_OK_AND_ASSIGN(const GrainClaim data, tables->claim(2, 8));
  EXPECT_EQ(data.count, 0U);
  EXPECT_FALSE(data.busy);
  ASSERT_OK_AND_ASSIGN(const GrainClaim busy, tables->claim(1, 8));
  EXPECT_EQ(busy.count, 0U);
  EXPECT_TRUE(busy.busy);
  ASSERT_OK_AND_ASSIGN(const GrainClaim bad, tables->claim(5, 1));
  EXPECT_EQ(bad.count, 0U);
  EXPECT_FALSE(bad.busy);
  ASSERT_OK_AND_ASSIGN(const GrainClaim last, tables->claim(kTable - 1, 8));
  EXPECT_EQ(last.count, 1U) << "the extent ends here";
  tables->abandon(0, 2);
  tables->abandon(kTable - 1, 1);
}

TEST_F(GrainTablesTest, AClaimThatCannotReadATableKeepsNothing) {
  make(small_spec(4 * kMiB, {grain_of(kTable, 1)}));
  const auto tables = this->tables();
  ASSERT_OK(tables->scan(0, 1));
  files_.add({.kinds = {OpKind::kRead}, .err = EIO});
  EXPECT_THAT(tables->claim(kTable - 1, 2), FailsWith(EIO));
  files_.clear();
  ASSERT_OK_AND_ASSIGN(const GrainClaim claim, tables->claim(kTable - 1, 1));
  EXPECT_EQ(claim.count, 1U);
  tables->abandon(kTable - 1, 1);
}

TEST_F(GrainTablesTest, ClearFreesDataAndSaysZeroOrNone) {
  SparseSpec spec = small_spec(2 * kMiB, {grain_of(0, 1), entry_of(1, 1), grain_of(3, 2)});
  spec.zeroed_grains = true;
  make(spec);
  const auto tables = this->tables();
  std::vector<std::uint32_t> freed;
  ASSERT_OK(tables->clear(0, 3, GrainEntry::none(), freed));
  EXPECT_EQ(freed, std::vector{sector_of(0)});
  EXPECT_EQ(state(*tables, 0), GrainState::kNone);
  EXPECT_EQ(state(*tables, 1), GrainState::kZero) << "zeros without a parent are as good";
  ASSERT_OK(tables->clear(2, 2, GrainEntry::zero(), freed));
  EXPECT_EQ(freed, (std::vector{sector_of(0), sector_of(3)}));
  commit(*tables);
  EXPECT_EQ(entry(0), 0U);
  EXPECT_EQ(entry(2, true), 1U);
  EXPECT_EQ(entry(3), 1U);
}

TEST_F(GrainTablesTest, ClearOfNothingIsNotDirty) {
  make(small_spec(4 * kMiB));
  const auto tables = this->tables();
  std::vector<std::uint32_t> freed;
  ASSERT_OK(tables->clear(0, 2 * kTable, GrainEntry::none(), freed));
  EXPECT_FALSE(tables->has_dirty());
  EXPECT_EQ(cache_.tables_in_memory(), 0U);
}

TEST_F(GrainTablesTest, ClearLeavesBadEntriesAlone) {
  make(small_spec(2 * kMiB, {entry_of(1, 2), grain_of(0, 1)}));
  const auto tables = this->tables();
  std::vector<std::uint32_t> freed;
  EXPECT_THAT(tables->clear(0, 2, GrainEntry::none(), freed), IsError(ErrorCode::kCorrupt));
  EXPECT_EQ(freed.size(), 1U) << "what was cleared before stays cleared";
  EXPECT_EQ(state(*tables, 1), GrainState::kBad);
}

TEST_F(GrainTablesTest, ClearWaitsForClaims) {
  make(small_spec(2 * kMiB));
  const auto tables = this->tables();
  ASSERT_OK(tables->claim(7, 1));
  std::atomic<bool> done{false};
  std::vector<std::uint32_t> freed;
  std::thread clearing([&] {
    const auto inside = epochs_.enter();
    EXPECT_OK(tables->clear(7, 1, GrainEntry::zero(), freed));
    done.store(true);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(done.load());
  tables->publish(7, 1, 800);
  clearing.join();
  EXPECT_EQ(freed, std::vector{800U});
  EXPECT_EQ(state(*tables, 7), GrainState::kZero);
}

TEST_F(GrainTablesTest, SnapshotsShowClaimsAsWhatTheyWere) {
  make(small_spec(2 * kMiB));
  const auto tables = this->tables();
  ASSERT_OK(tables->claim(0, 3));
  tables->publish(0, 1, 800);
  const TableSnapshot snapshot = tables->take_snapshot();
  ASSERT_EQ(snapshot.sectors.size(), 1U);
  EXPECT_EQ(load_le32(snapshot.sectors[0].bytes, 0), 800U);
  EXPECT_EQ(load_le32(snapshot.sectors[0].bytes, 4), 0U);
  tables->publish(1, 2, 808);  // while the commit runs
  tables->finish_commit(snapshot, true);
  EXPECT_TRUE(tables->has_dirty()) << "what was published since the snapshot";
  EXPECT_EQ(tables->take_snapshot().sectors.size(), 1U);
}

TEST_F(GrainTablesTest, AFailedCommitLeavesEverythingDirty) {
  make(small_spec(4 * kMiB));
  const auto tables = this->tables();
  ASSERT_OK(tables->claim(0, 1));
  tables->publish(0, 1, 800);
  ASSERT_OK(tables->claim(kTable, 1));
  tables->publish(kTable, 1, 808);
  const TableSnapshot snapshot = tables->take_snapshot();
  ASSERT_OK(tables->claim(200, 1));
  tables->publish(200, 1, 816);  // another sector of a table that is committing
  tables->finish_commit(snapshot, false);
  EXPECT_TRUE(tables->has_dirty());
  const TableSnapshot again = tables->take_snapshot();
  EXPECT_EQ(again.tables, (std::vector<std::uint64_t>{0, 1})) << "each table once";
  EXPECT_EQ(again.sectors.size(), 3U);
  tables->finish_commit(again, true);
  EXPECT_FALSE(tables->has_dirty());
}

TEST_F(GrainTablesTest, TablesLeaveMemoryUnlessSomebodyNeedsThem) {
  std::vector<GrainSpec> grains;
  for (std::uint64_t table = 0; table < 60; ++table)
    grains.push_back(grain_of(table * kTable, 1));
  make(small_spec(120 * kMiB, grains));
  const auto tables = this->tables();
  ASSERT_OK(tables->claim(1, 1));
  push_out(*tables);
  EXPECT_LE(cache_.tables_in_memory(), 17U);
  EXPECT_FALSE(tables->try_evict(0)) << "claimed";
  tables->publish(1, 1, sector_of(59 * kTable) + 8);
  EXPECT_FALSE(tables->try_evict(0)) << "used just now, and dirty";
  EXPECT_FALSE(tables->try_evict(0)) << "dirty";
  const TableSnapshot snapshot = tables->take_snapshot();
  EXPECT_FALSE(tables->try_evict(0)) << "in a commit";
  ASSERT_OK(tables->write_copies(snapshot, *file_));
  ASSERT_OK(file_->grow(snapshot.highest_end));
  tables->finish_commit(snapshot, true);
  EXPECT_TRUE(tables->try_evict(0));
  EXPECT_FALSE(tables->try_evict(0)) << "gone";
  EXPECT_EQ(state(*tables, 1), GrainState::kData) << "read again";
}

TEST_F(GrainTablesTest, AnEvictedTableLivesAsLongAsItsReaders) {
  make(small_spec(2 * kMiB, {grain_of(0, 1)}));
  const auto tables = this->tables();
  const auto inside = epochs_.enter();
  ASSERT_OK(tables->scan(0, 1));
  EXPECT_FALSE(tables->try_evict(0)) << "used just now";
  EXPECT_TRUE(tables->try_evict(0));
  EXPECT_EQ(cache_.tables_in_memory(), 0U);
  EXPECT_FALSE(epochs_.passed(epochs_.now()));
}

TEST_F(GrainTablesTest, AnEmptyTableIsNeverEvictedAndNeverWritten) {
  make(small_spec(2 * kMiB, {grain_of(0, 1)}));
  const auto tables = this->tables();
  tables->note_empty(0);
  EXPECT_EQ(state(*tables, 0), GrainState::kNone) << "the scan said that there is nothing";
  EXPECT_FALSE(tables->try_evict(0));
  ASSERT_OK(tables->claim(5, 1));
  tables->publish(5, 1, 800);
  EXPECT_EQ(state(*this->tables(), 5), GrainState::kNone) << "the shared table took a write";
}

TEST_F(GrainTablesTest, AMissingTableHoldsNothing) {
  SparseSpec spec = small_spec(4 * kMiB);
  spec.missing_tables = {1};
  make(spec);
  EXPECT_EQ(state(*tables(), kTable + 3), GrainState::kNone);
}

}  // namespace
}  // namespace vmdk::test
