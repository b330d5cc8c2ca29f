// What tables tell that nobody scanned: those of an extent that is only read.
#include "extent/table_doubts.h"

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>

#include "sparse_fixture.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kTable = kEntriesPerTable;
constexpr std::uint64_t kCapacity = 6 * kMiB;  // three tables

class TableDoubtsTest : public SparseFixture {
 protected:
  // Of the file as it is now; `log_` hears what they say.
  std::unique_ptr<GrainTables> doubted(bool unclean = false) {
    auto found = directory();
    EXPECT_OK(found);
    return std::make_unique<GrainTables>(
        file_->file(), layout_of(header_, std::move(*found), extent_bytes_), cache_,
        GrainTables::Placer(), nullptr,
        std::make_unique<TableDoubts>(
            file_->file(), unclean,
            [this](LogLevel, std::string_view text) { log_ += std::string(text) + "\n"; }));
  }

  GrainState state(GrainTables& tables, std::uint64_t grain) {
    const auto entry = tables.entry(grain);
    EXPECT_OK(entry);
    return entry ? entry->state() : GrainState::kBad;
  }

  void set_directory_entry(std::uint64_t table, bool redundant, std::uint32_t value) {
    std::array<std::byte, 4> bytes{};
    store_le32(bytes, 0, value);
    memory_.poke(kExtentPath, built_.directory_entry_at(table, redundant), bytes);
    reopen();
  }

  std::string log_;
};

TEST_F(TableDoubtsTest, SoundTablesSayNothing) {
  make(small_spec(kCapacity, {grain_of(3, 1), grain_of(1, 2), grain_of(kTable, 3)}));
  const auto tables = doubted();
  for (const std::uint64_t grain : {std::uint64_t{1}, std::uint64_t{3}, kTable})
    EXPECT_EQ(state(*tables, grain), GrainState::kData);
  EXPECT_EQ(state(*tables, 2 * kTable), GrainState::kNone);
  EXPECT_EQ(log_, "");
}

TEST_F(TableDoubtsTest, GrainsThatOverlapAreBad) {
  make(small_spec(kCapacity, {grain_of(0, 1), grain_of(1, 2), grain_of(9, 3)}));
  for (const std::uint32_t beside : {0U, 1U, 7U}) {
    set_entry(5, sector_of(1) + beside, TableCopies::kBoth);
    const auto tables = doubted();
    EXPECT_EQ(state(*tables, 1), GrainState::kBad) << beside;
    EXPECT_EQ(state(*tables, 5), GrainState::kBad) << beside;
    EXPECT_EQ(state(*tables, 0), GrainState::kData);
    // Only just beside the third.
    EXPECT_EQ(state(*tables, 9), beside == 0 ? GrainState::kData : GrainState::kBad) << beside;
  }
  set_entry(5, sector_of(9) + 8, TableCopies::kBoth);
  memory_.truncate(kExtentPath, built_.file_size + 4 * kKiB);
  const auto tables = doubted();
  EXPECT_EQ(state(*tables, 5), GrainState::kData) << "behind the last, and apart from all";
  EXPECT_EQ(state(*tables, 9), GrainState::kData);
}

TEST_F(TableDoubtsTest, EntriesBehindTheEndOfTheExtentOverlapNothing) {
  make(small_spec(2 * kMiB - 8 * kKiB, {grain_of(0, 1)}));
  set_entry(kTable - 1, sector_of(0), TableCopies::kBoth);
  EXPECT_EQ(state(*doubted(), 0), GrainState::kData);
}

TEST_F(TableDoubtsTest, CopiesThatDifferAreToldOnce) {
  make(small_spec(kCapacity, {grain_of(0, 1), grain_of(kTable, 2)}));
  set_entry(0, 0, TableCopies::kRedundant);
  set_entry(kTable, 0, TableCopies::kPrimary);
  const auto tables = doubted();
  EXPECT_EQ(state(*tables, 0), GrainState::kData) << "the primary copy";
  EXPECT_EQ(state(*tables, kTable), GrainState::kNone);
  EXPECT_EQ(log_,
            "/vm/d.vmdk: grain table 0: its two copies differ although it was closed cleanly: what "
            "the primary one says is shown; vmdkctl check lists the damage\n");
}

TEST_F(TableDoubtsTest, AfterAnUnfinishedSessionCopiesMayDiffer) {
  make(small_spec(kCapacity, {grain_of(0, 1)}));
  set_entry(0, 0, TableCopies::kRedundant);
  EXPECT_EQ(state(*doubted(true), 0), GrainState::kData);
  EXPECT_EQ(log_, "");
}

TEST_F(TableDoubtsTest, WhatIsBehindTheEndOfTheExtentMayDiffer) {
  make(small_spec(2 * kMiB - 8 * kKiB, {grain_of(0, 1)}));
  set_entry(kTable - 1, 77, TableCopies::kRedundant);
  EXPECT_EQ(state(*doubted(), 0), GrainState::kData);
  EXPECT_EQ(log_, "");
}

TEST_F(TableDoubtsTest, ARedundantCopyThatCannotBeReadFailsNobody) {
  make(small_spec(kCapacity, {grain_of(0, 1)}));
  const std::uint64_t redundant = built_.table_at(0, true);
  const auto tables = doubted();
  files_.add({.kinds = {OpKind::kRead},
              .matches = [=](const FileOperation& read) { return read.offset == redundant; },
              .for_ever = true,
              .err = EIO});
  EXPECT_EQ(state(*tables, 0), GrainState::kData);
  EXPECT_NE(log_.find("its redundant copy cannot be read"), std::string::npos) << log_;
}

TEST_F(TableDoubtsTest, ATableThatThePrimaryDirectoryLostIsNoHole) {
  make(small_spec(kCapacity, {grain_of(kTable + 3, 1)}));
  set_directory_entry(1, false, 0);
  const auto tables = doubted();
  EXPECT_EQ(state(*tables, kTable + 3), GrainState::kBad);
  EXPECT_EQ(state(*tables, kTable + 4), GrainState::kNone) << "no copy has it";
  EXPECT_NE(log_.find("grain table 1: only the redundant directory has it"), std::string::npos)
      << log_;
  // An interrupted commit adds tables behind the metadata.
  EXPECT_EQ(state(*doubted(true), kTable + 3), GrainState::kBad);
}

TEST_F(TableDoubtsTest, ATableThatACommitWasAddingIsNotThereYet) {
  make(small_spec(kCapacity, {grain_of(kTable + 3, 1)}));
  const auto table = memory_.bytes(kExtentPath, built_.table_at(1), kGrainTableSize);
  memory_.poke(kExtentPath, built_.file_size, table);
  set_directory_entry(1, false, 0);
  set_directory_entry(1, true, static_cast<std::uint32_t>(built_.file_size / kSectorSize));
  EXPECT_EQ(state(*doubted(true), kTable + 3), GrainState::kNone);
  EXPECT_EQ(log_, "");
  EXPECT_EQ(state(*doubted(false), kTable + 3), GrainState::kBad);
}

TEST_F(TableDoubtsTest, ATableThatHoldsNothingMayBeLost) {
  make(small_spec(kCapacity, {grain_of(0, 1)}));
  set_directory_entry(1, false, 0);
  EXPECT_EQ(state(*doubted(), kTable), GrainState::kNone);
  EXPECT_EQ(log_, "");
}

TEST_F(TableDoubtsTest, ATableThatTheRedundantDirectoryLostIsToldOf) {
  make(small_spec(kCapacity, {grain_of(kTable, 1)}));
  set_directory_entry(1, true, 0);
  EXPECT_EQ(state(*doubted(), kTable), GrainState::kData);
  EXPECT_NE(log_.find("grain table 1: its two copies differ"), std::string::npos) << log_;
}

}  // namespace
}  // namespace vmdk::test
