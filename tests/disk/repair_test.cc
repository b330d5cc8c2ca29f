// Repairs: what they mend, and what they leave as it is.
#include <algorithm>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "repair_fixture.h"
#include "support/esx_builder.h"
#include "support/faulty_file_system.h"

namespace vmdk::test {
namespace {

using testing::ElementsAre;

using RepairTest = RepairFixture;

// --- Leaks -------------------------------------------------------------------------------------

TEST_F(RepairTest, UnusedSpaceOfACleanImageIsCountedAndLeftAlone) {
  make_image(false);
  memory_.truncate(kImage, built_.file_size + 2 * kGrain);
  const CheckReport report = check(true);
  EXPECT_EQ(report.exit_code(), 0);
  EXPECT_EQ(report.unused_bytes, 2 * kGrain);
  EXPECT_TRUE(report.repairs.empty()) << text_of(report);
  EXPECT_EQ(memory_.size(kImage), built_.file_size + 2 * kGrain);
}

TEST_F(RepairTest, TheMarkAndLeakedSpaceAreMended) {
  make_image(true);
  memory_.truncate(kImage, built_.file_size + 2 * kGrain);
  const auto before = all_bytes();
  const CheckReport found = check();
  EXPECT_EQ(found.exit_code(), 3);
  expect_says(found, "was not closed cleanly");
  expect_says(found, "leaked");
  EXPECT_TRUE(all_bytes() == before) << "a check without a repair writes nothing";
  const CheckReport mended = check(true);
  EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
  EXPECT_THAT(kinds_of(mended), ElementsAre(RepairKind::kEnd, RepairKind::kMark));
  EXPECT_EQ(mended.repairs[0].bytes, 2 * kGrain);
  EXPECT_FALSE(marked(kImage));
  EXPECT_EQ(memory_.size(kImage), built_.file_size);
}

TEST_F(RepairTest, SpaceInTheMiddleIsGivenBack) {
  make_image(true);
  set_entry(0, false, 0);
  set_entry(0, true, 0);
  const CheckReport mended = check(true);
  EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
  EXPECT_THAT(kinds_of(mended), ElementsAre(RepairKind::kHoles, RepairKind::kMark));
  EXPECT_EQ(mended.repairs[0].count, 1U);
  EXPECT_EQ(mended.repairs[0].bytes, kGrain);
  EXPECT_EQ(memory_.bytes(kImage, built_.data.at(0), kGrain), filled(kGrain, 0));
  EXPECT_EQ(memory_.bytes(kImage, built_.data.at(600), kGrain), filled(kGrain, 'b'));
}

// Then new grains take it.
TEST_F(RepairTest, SpaceThatTheHostCannotTakeBackIsUsedAgain) {
  make_image(true);
  set_entry(0, false, 0);
  set_entry(0, true, 0);
  FaultyFileSystem host(memory_);
  host.add({.kinds = {OpKind::kPunch}, .for_ever = true, .err = EOPNOTSUPP});
  ASSERT_OK_AND_ASSIGN(const CheckReport mended, check_image(host, kImage, repairing()));
  EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
  expect_says(mended, "left: /vm/d.vmdk: 65536 unused bytes inside the file stay there");
  EXPECT_EQ(mended.unused_bytes, kGrain);
  EXPECT_FALSE(marked(kImage));
  ASSERT_OK_AND_ASSIGN(const auto disk, open(kImage));
  ASSERT_OK(disk->write(DiskOffset(5 * kGrain), filled(kGrain, 'n')));
  ASSERT_OK(disk->close());
  EXPECT_EQ(memory_.size(kImage), built_.file_size);
  EXPECT_EQ(memory_.bytes(kImage, built_.data.at(0), kGrain), filled(kGrain, 'n'));
}

// Entries behind the end of the disk mean nothing here, but other programs read as far as the
// header's capacity. One of the copies is enough.
TEST_F(RepairTest, GrainsBehindTheEndOfTheDiskAreNotGivenBack) {
  SparseSpec spec;
  spec.capacity = 64 * kMiB - 8 * kGrain;
  spec.unclean = true;
  spec.grains = {{.index = 0, .data = filled(kGrain, 'a')}};
  built_ = make(kImage, spec);
  const std::uint32_t primary = append_grain('p');
  append_grain('-');
  const std::uint32_t redundant = append_grain('r');
  set_entry(1020, false, primary);
  set_entry(1021, true, redundant);
  append_grain('-');
  const CheckReport mended = check(true);
  EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
  EXPECT_EQ(memory_.size(kImage), redundant * kSectorSize + kGrain);
  EXPECT_EQ(memory_.bytes(kImage, primary * kSectorSize, kGrain), filled(kGrain, 'p'));
  EXPECT_EQ(memory_.bytes(kImage, redundant * kSectorSize, kGrain), filled(kGrain, 'r'));
  EXPECT_EQ(memory_.bytes(kImage, primary * kSectorSize + kGrain, kGrain), filled(kGrain, 0));
}

// The scan keeps the first of very many.
TEST_F(RepairTest, SpaceInVeryManyPiecesIsToldOf) {
  constexpr std::uint64_t kPieces = 65536;
  CowdSpec spec;
  spec.capacity = 64 * kMiB;
  for (std::uint64_t i = 0; i < kPieces + 10; ++i)
    spec.grains.push_back({.index = i, .entry = 4096 + 2 * i});
  spec.edit_header = [](std::span<std::byte> bytes) { store_le32(bytes, kCowdUncleanAt, 1); };
  ASSERT_OK(build_cowd_disk(memory_, kImage, spec));
  const std::uint64_t end = (4096 + 2 * (kPieces + 9) + 1) * kSectorSize;
  memory_.truncate("/vm/d-delta.vmdk", end);
  const CheckReport mended = check(true);
  EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
  const auto holes =
      std::find_if(mended.repairs.begin(), mended.repairs.end(),
                   [](const Repair& repair) { return repair.kind == RepairKind::kHoles; });
  ASSERT_NE(holes, mended.repairs.end());
  EXPECT_EQ(holes->count, kPieces);
  expect_says(mended, "left: /vm/d-delta.vmdk: unused space in more than 65536 pieces stays");
}

// --- Copies of tables ----------------------------------------------------------------------------

TEST_F(RepairTest, AnInterruptedCommitIsFinished) {
  make_image(true);
  set_entry(600, false, 0);
  const CheckReport found = check();
  EXPECT_EQ(found.exit_code(), 3);
  expect_says(found,
              "a commit was interrupted: the copies of the grain tables differ in 1 entries");
  const CheckReport mended = check(true);
  EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
  expect_says(mended, "done: /vm/d.vmdk: 1 redundant grain table made equal to the primary one");
  EXPECT_EQ(entry(600, true), 0U);
  EXPECT_NE(entry(0, true), 0U);
  EXPECT_EQ(memory_.size(kImage), built_.data.at(600)) << "what it was adding is given back";
}

TEST_F(RepairTest, UnequalCopiesOfACleanImageAreAChoice) {
  make_image(false);
  set_entry(600, true, 0);
  const auto before = all_bytes();
  const CheckReport found = check(true);
  EXPECT_EQ(found.exit_code(), 2);
  expect_says(found, "grain 600: the primary table says");
  expect_nothing_changed(found, "each can be right: --repair=tables chooses");
  EXPECT_TRUE(all_bytes() == before);
  const CheckReport chosen = check(true, true);
  EXPECT_EQ(chosen.exit_code(), 0) << text_of(chosen);
  EXPECT_EQ(entry(600, true), entry(600, false));
  EXPECT_NE(entry(600, true), 0U);
}

TEST_F(RepairTest, TablesAreMendedFromTheSoundPrimary) {
  make_image(false);
  set_entry(600, true, 3);  // into the metadata
  EXPECT_EQ(check().exit_code(), 2);
  const CheckReport mended = check(true);
  EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
  EXPECT_THAT(kinds_of(mended), ElementsAre(RepairKind::kTables));
  EXPECT_EQ(mended.repairs[0].count, 1U);
  EXPECT_EQ(mended.repairs[0].bytes, kGrainTableSize);
  EXPECT_EQ(entry(600, true), entry(600, false));
  EXPECT_EQ(entry(600, true) * kSectorSize, built_.data.at(600));
}

TEST_F(RepairTest, TablesAreMendedFromTheSoundRedundantCopy) {
  for (const bool unclean : {false, true}) {
    SCOPED_TRACE(unclean);
    make_image(unclean);
    const std::uint32_t sound = entry(600, true);
    set_entry(600, false, 3);
    const CheckReport mended = check(true);
    EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
    expect_says(mended, "1 primary grain table made equal to the redundant one");
    EXPECT_EQ(entry(600, false), sound);
    EXPECT_EQ(entry(600, true), sound);
    EXPECT_OK(open(kImage));
    ASSERT_OK(memory_.remove(kImage));
  }
}

// Each table by itself.
TEST_F(RepairTest, OneTableFromEachCopy) {
  make_image(false);
  set_entry(5, false, 3);
  set_entry(601, true, 3);
  const CheckReport mended = check(true);
  EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
  EXPECT_THAT(kinds_of(mended), ElementsAre(RepairKind::kTables, RepairKind::kTables));
  EXPECT_EQ(entry(5, false), 0U);
  EXPECT_EQ(entry(601, true), 0U);
  expect_reads(0, 'a');
  expect_reads(600, 'b');
}

TEST_F(RepairTest, WithBothCopiesDamagedNothingIsChanged) {
  make_image(false);
  set_entry(600, false, 3);
  set_entry(601, true, 3);
  const auto before = all_bytes();
  const CheckReport report = check(true, true);
  EXPECT_EQ(report.exit_code(), 2);
  expect_nothing_changed(report, "of grain table 1 both copies are damaged");
  EXPECT_TRUE(all_bytes() == before);
}

TEST_F(RepairTest, EqualDamageIsNotMended) {
  make_image(true);
  set_entry(5, false, entry(0, false));
  set_entry(5, true, entry(0, false));
  const auto before = all_bytes();
  const CheckReport report = check(true, true);
  EXPECT_EQ(report.exit_code(), 2);
  expect_says(report, "is shared with another grain");
  expect_nothing_changed(report, "no copy of them is sound");
  EXPECT_TRUE(all_bytes() == before);
}

// A copy that lacks a grain would make it disappear.
TEST_F(RepairTest, NoCopyTakesAGrainAway) {
  make_image(true);
  set_entry(601, false, 3);
  set_entry(600, true, 0);
  const auto before = all_bytes();
  const CheckReport report = check(true, true);
  EXPECT_EQ(report.exit_code(), 2);
  expect_nothing_changed(report, "the redundant one lacks 1 grains that the primary one has");
  EXPECT_TRUE(all_bytes() == before);
}

// What programs that copy failing disks leave in the place of a sector that they could not read.
TEST_F(RepairTest, ALostSectorOfThePrimaryTableComesFromTheOther) {
  make_image(false);
  const std::uint32_t sound = entry(600, true);
  set_entry(600, false, 0);  // its sector's only entry
  expect_nothing_changed(check(true), "--repair=tables");
  const CheckReport mended = check(true, true);
  EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
  EXPECT_EQ(entry(600, false), sound);
  expect_reads(600, 'b');
}

TEST_F(RepairTest, AnEntryThatThePrimaryTableAloneLacksIsNotGuessed) {
  make_image(false);
  const std::uint32_t more = append_grain('m');
  set_entry(601, true, more);
  const auto before = all_bytes();
  const CheckReport report = check(true, true);
  EXPECT_EQ(report.exit_code(), 2);
  expect_nothing_changed(report, "which of them is right cannot be told");
  EXPECT_TRUE(all_bytes() == before);
}

TEST_F(RepairTest, GrainsThatThePrimaryTablesShareComeFromTheRedundantOnes) {
  for (const bool unclean : {false, true}) {
    SCOPED_TRACE(unclean);
    make_image(unclean);
    const std::uint32_t sound = entry(600, false);
    set_entry(600, false, entry(0, false));
    EXPECT_EQ(check().exit_code(), 2);
    if (!unclean)
      expect_nothing_changed(check(true), "--repair=tables");
    const CheckReport mended = check(true, !unclean);
    EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
    EXPECT_EQ(entry(600, false), sound);
    expect_reads(600, 'b');
    ASSERT_OK(memory_.remove(kImage));
  }
}

TEST_F(RepairTest, OneCopyAloneIsNotMended) {
  SparseSpec spec;
  spec.capacity = kMiB;
  spec.unclean = true;
  spec.edit_header = [](SparseHeader& header) { header.flags &= ~sparse_flag::kRedundantTables; };
  built_ = make(kImage, spec);
  set_entry(3, false, 3);
  const auto before = all_bytes();
  const CheckReport report = check(true, true);
  EXPECT_EQ(report.exit_code(), 2);
  expect_nothing_changed(report, "it has one copy of them only");
  EXPECT_TRUE(all_bytes() == before);
}

// The damaged copy had another place for the grain. Nobody knows that it was the wrong one.
TEST_F(RepairTest, WhatAReplacedCopyNamesIsNotGivenBack) {
  make_image(true);
  const std::uint32_t other = append_grain('o');
  append_grain('-');
  set_entry(600, false, other);
  set_entry(605, false, 3);
  const CheckReport mended = check(true);
  EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
  expect_reads(600, 'b');
  EXPECT_EQ(memory_.size(kImage), other * kSectorSize + kGrain) << "what nobody names is cut off";
  EXPECT_EQ(memory_.bytes(kImage, other * kSectorSize, kGrain), filled(kGrain, 'o'));
  EXPECT_EQ(mended.unused_bytes, kGrain);
}

TEST_F(RepairTest, AllDamageIsMendedOrNothing) {
  SparseSpec part;
  part.capacity = 2 * kMiB;
  part.unclean = true;
  ASSERT_OK_AND_ASSIGN(const auto built, build_split_sparse(memory_, kImage, {part, part, part}));
  poke_entry("/vm/d-s001.vmdk", built[0].entry_at(3), 3);  // the other copy can mend it
  poke_entry("/vm/d-s002.vmdk", built[1].entry_at(3), 3);
  poke_entry("/vm/d-s002.vmdk", built[1].entry_at(3, true), 3);
  const auto before = all_bytes();
  const CheckReport report = check(true);
  EXPECT_EQ(report.exit_code(), 2);
  ASSERT_EQ(report.repairs.size(), 1U) << text_of(report);
  EXPECT_EQ(report.repairs[0].file, "/vm/d-s002.vmdk");
  EXPECT_TRUE(all_bytes() == before);
  poke_entry("/vm/d-s002.vmdk", built[1].entry_at(3), 0);
  const CheckReport mended = check(true);
  EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
  EXPECT_EQ(count(mended, RepairState::kDone), 5U) << "two tables and three marks";
}

TEST_F(RepairTest, DamageOutsideTheTablesStopsEverything) {
  SparseSpec part;
  part.capacity = 2 * kMiB;
  part.unclean = true;
  ASSERT_OK(build_split_sparse(memory_, kImage, {part, part}));
  ASSERT_OK(memory_.remove("/vm/d-s002.vmdk"));
  const auto before = all_bytes();
  const CheckReport report = check(true, true);
  EXPECT_EQ(report.exit_code(), 2);
  expect_nothing_changed(report, "the image is damaged outside its grain tables");
  EXPECT_TRUE(all_bytes() == before);
}

TEST_F(RepairTest, TheContentIdStays) {
  make_image(true);
  set_entry(600, false, 3);
  const auto text = [&] { return memory_.bytes(kImage, kSectorSize, 20 * kSectorSize); };
  const auto before = text();
  EXPECT_EQ(check(true).exit_code(), 0);
  EXPECT_EQ(text(), before);
}

// It has no second copy of a table, but leaks and a free sector.
TEST_F(RepairTest, ACowdIsMendedExceptForItsTables) {
  CowdSpec spec;
  spec.capacity = kMiB;
  spec.grains = {{.index = 1, .data = filled(kSectorSize, 'x')}};
  spec.edit_header = [](std::span<std::byte> bytes) { store_le32(bytes, kCowdUncleanAt, 1); };
  ASSERT_OK_AND_ASSIGN(const BuiltCowd built, build_cowd_disk(memory_, kImage, spec));
  const std::string delta = "/vm/d-delta.vmdk";
  poke_entry(delta, kCowdFreeSectorAt, 3);
  memory_.truncate(delta, built.file_size + kMiB);
  const CheckReport mended = check(true);
  EXPECT_EQ(mended.exit_code(), 0) << text_of(mended);
  EXPECT_THAT(kinds_of(mended),
              ElementsAre(RepairKind::kFreeSector, RepairKind::kEnd, RepairKind::kMark));
  poke_entry(delta, built.entry_at(1), 1);
  const auto before = all_bytes();
  expect_nothing_changed(check(true, true), "it has one copy of them only");
  EXPECT_TRUE(all_bytes() == before);
}

}  // namespace
}  // namespace vmdk::test
