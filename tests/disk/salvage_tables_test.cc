// Hosted extents with damaged tables, salvaged.
#include <array>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "salvage_fixture.h"

namespace vmdk::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class SalvageTablesTest : public SalvageTest {
 protected:
  static constexpr std::uint64_t kGrain = 4 * kKiB;
  static constexpr std::uint64_t kGrains = 1300;
  static constexpr std::uint64_t kCapacity = kGrains * kGrain - kSectorSize;
  static constexpr const char* kPath = "/vm/d.vmdk";

  void build(bool unclean = false) {
    SparseSpec spec;
    spec.capacity = kCapacity;
    spec.grain_size = kGrain;
    spec.unclean = unclean;
    for (const std::uint64_t index : {0U, 3U, 4U, 200U, 511U, 512U, 600U, 1299U}) {
      GrainSpec grain;
      grain.index = index;
      grain.data = random_bytes(std::min(kGrain, kCapacity - index * kGrain));
      model_.write(index * kGrain, grain.data);
      spec.grains.push_back(grain);
    }
    built_ = make(kPath, spec);
    whole_ = memory_.contents(kPath);
  }

  void mend() { memory_.put(kPath, whole_); }

  std::uint32_t sector_of(std::uint64_t grain) const {
    return static_cast<std::uint32_t>(built_.data.at(grain) / kSectorSize);
  }

  Ranges unreadable_now() {
    const auto disk = salvage(kPath);
    EXPECT_OK(disk);
    if (!disk)
      return {{0, 0}};
    notes_ = notes(**disk);
    return unreadable(**disk, model_);
  }

  static Range grains(std::uint64_t first, std::uint64_t count = 1) {
    return {first * kGrain, std::min((first + count) * kGrain, kCapacity)};
  }

  ReferenceDisk model_{kCapacity};
  BuiltSparse built_;
  std::vector<std::byte> whole_;
  std::vector<std::string> notes_;
};

TEST_F(SalvageTablesTest, ASoundImageNeedsNothing) {
  build();
  EXPECT_THAT(unreadable_now(), IsEmpty());
  EXPECT_THAT(notes_, IsEmpty());
}

TEST_F(SalvageTablesTest, ADamagedPrimaryTableIsReadThroughTheRedundantOne) {
  build();
  const std::uint32_t behind = static_cast<std::uint32_t>(built_.file_size / kSectorSize);
  const std::array<std::uint32_t, 5> faults{1, 21, behind, 0xFFFFFFFF, sector_of(512)};
  for (const std::uint32_t fault : faults) {
    mend();
    poke_entry(kPath, built_.entry_at(3), fault);
    EXPECT_THAT(unreadable_now(), IsEmpty()) << fault;
    EXPECT_THAT(notes_, ElementsAre(HasSubstr("grain table 0: the redundant copy is read")))
        << fault;
    // The redundant copy is not looked at, as long as the primary one is sound.
    mend();
    poke_entry(kPath, built_.entry_at(3, true), fault);
    EXPECT_THAT(unreadable_now(), IsEmpty()) << fault;
    // The same in both.
    poke_entry(kPath, built_.entry_at(3), fault);
    const bool shared = fault == sector_of(512);
    EXPECT_EQ(unreadable_now(), shared ? (Ranges{grains(3), grains(512)}) : Ranges{grains(3)})
        << fault;
    EXPECT_THAT(notes_, Contains(HasSubstr("EIO")));
  }
}

TEST_F(SalvageTablesTest, EachCopyHasOtherDamage) {
  build();
  poke_entry(kPath, built_.entry_at(3), 21);
  poke_entry(kPath, built_.entry_at(200, true), 21);
  EXPECT_THAT(unreadable_now(), IsEmpty());
  EXPECT_THAT(notes_, ElementsAre(HasSubstr("what cannot be told reads EIO")));
}

TEST_F(SalvageTablesTest, WhatOnlyADamagedPrimaryCopyNamesIsNoHole) {
  build();
  poke_entry(kPath, built_.entry_at(3), 21);
  poke_entry(kPath, built_.entry_at(4, true), 0);
  EXPECT_EQ(unreadable_now(), Ranges{grains(4)});
}

TEST_F(SalvageTablesTest, ATableThatWasCopiedAsZeros) {
  build();
  memory_.poke(kPath, built_.table_at(0), filled(kSectorSize, 0));
  EXPECT_THAT(unreadable_now(), IsEmpty());
  EXPECT_THAT(notes_, ElementsAre(HasSubstr("it is empty where its other copy has entries")));
  // Each copy lost another sector.
  memory_.poke(kPath, built_.table_at(0, true) + kGrainTableSize - kSectorSize,
               filled(kSectorSize, 0));
  EXPECT_THAT(unreadable_now(), IsEmpty());
}

TEST_F(SalvageTablesTest, ADamagedDirectoryEntry) {
  build();
  for (const std::uint32_t fault :
       {0U, 1U, 0xFFFFFFFFU, static_cast<std::uint32_t>(built_.table_at(1) / kSectorSize),
        static_cast<std::uint32_t>(built_.table_at(0, true) / kSectorSize + 1)}) {
    mend();
    poke_entry(kPath, built_.directory_entry_at(0), fault);
    if (fault > 1) {
      EXPECT_THAT(open_sound(kPath), IsError(ErrorCode::kCorrupt)) << fault;
    }
    EXPECT_THAT(unreadable_now(), IsEmpty()) << fault;
    EXPECT_THAT(notes_, ElementsAre(HasSubstr("grain table 0: the redundant copy is read")));
    poke_entry(kPath, built_.directory_entry_at(0, true), fault);
    if (fault == 0)
      continue;  // no table at all is a hole
    const Ranges ranges = unreadable_now();
    EXPECT_THAT(ranges, Contains(grains(0, 512))) << fault;
  }
}

TEST_F(SalvageTablesTest, AWrongPlaceOfADirectory) {
  build();
  constexpr std::uint64_t kRgdAt = 48;
  constexpr std::uint64_t kGdAt = 56;
  const auto move = [&](std::uint64_t field, std::uint32_t by) {
    poke_entry(kPath, field, peek(kPath, field) + by);
  };
  for (const std::uint64_t field : {kGdAt, kRgdAt}) {
    for (const std::uint32_t by : {1U, 2U, 0xFFFFFFFFU}) {
      mend();
      move(field, by);
      EXPECT_THAT(unreadable_now(), IsEmpty()) << field << " " << by;
    }
  }
  move(kGdAt, 1);
  const Ranges ranges = unreadable_now();
  EXPECT_EQ(ranges, (Ranges{{0, kCapacity}})) << "both are wrong";
  mend();
  memory_.poke(kPath, kGdAt + 4, filled(1, 1));
  EXPECT_THAT(salvage(kPath), HasMessage("overHead")) << "the header contradicts itself";
}

TEST_F(SalvageTablesTest, ADamagedHeaderIsNotGuessedAt) {
  build();
  memory_.poke(kPath, 20, filled(1, 3));  // grains of 3 sectors
  EXPECT_THAT(salvage(kPath), HasMessage("grainSize"));
  memory_.poke(kPath, 0, filled(1, 0));
  EXPECT_FALSE(salvage(kPath));
}

TEST_F(SalvageTablesTest, CopiesThatDifferThoughEachCanBeRight) {
  build();
  // Two grains that nobody uses.
  const std::uint32_t end = static_cast<std::uint32_t>(built_.file_size / kSectorSize);
  memory_.truncate(kPath, built_.file_size + 2 * kGrain);
  poke_entry(kPath, built_.entry_at(3), end);
  EXPECT_EQ(unreadable_now(), Ranges{grains(3)});
  // One is known to QEMU's primary table only: what it writes first.
  mend();
  poke_entry(kPath, built_.entry_at(3, true), 0);
  EXPECT_THAT(unreadable_now(), IsEmpty());
  // The other way round nobody leaves it.
  mend();
  poke_entry(kPath, built_.entry_at(3), 0);
  EXPECT_EQ(unreadable_now(), Ranges{grains(3)});
}

TEST_F(SalvageTablesTest, AnInterruptedCommitIsReadByThePrimaryTables) {
  build(true);
  memory_.truncate(kPath, built_.file_size + kGrain);
  poke_entry(kPath, built_.entry_at(7, true),
             static_cast<std::uint32_t>(built_.file_size / kSectorSize));
  EXPECT_THAT(unreadable_now(), IsEmpty());
  EXPECT_THAT(notes_, ElementsAre(HasSubstr("a commit was interrupted")));
}

TEST_F(SalvageTablesTest, GrainsThatReachIntoEachOther) {
  build();
  poke_entry(kPath, built_.entry_at(3), sector_of(3) + 1);
  EXPECT_THAT(unreadable_now(), IsEmpty()) << "the redundant copy tells";
  poke_entry(kPath, built_.entry_at(3, true), sector_of(3) + 1);
  EXPECT_EQ(unreadable_now(), (Ranges{grains(3, 2)}));
}

TEST_F(SalvageTablesTest, ACutFileHasWhatLiesBeforeTheCut) {
  build();
  memory_.truncate(kPath, built_.data.at(600) + 100);
  EXPECT_EQ(unreadable_now(), (Ranges{grains(600), grains(1299)}));
  memory_.truncate(kPath, built_.table_at(1));
  const Ranges all = unreadable_now();
  EXPECT_EQ(all.front().first, 0U);
  EXPECT_EQ(all.back().second, kCapacity);
}

TEST_F(SalvageTablesTest, RandomDamageOfOneCopyNeverShowsWrongBytes) {
  build();
  const std::uint32_t end = static_cast<std::uint32_t>(built_.file_size / kSectorSize);
  for (int round = 0; round < 400; ++round) {
    mend();
    const bool redundant = round % 2 == 0;
    for (std::uint64_t i = 0; i < 1 + random_() % 4; ++i) {
      const std::uint64_t grain = random_() % kGrains;
      const std::uint64_t at = random_() % 8 == 0
                                   ? built_.directory_entry_at(grain / 512, redundant)
                                   : built_.entry_at(grain, redundant);
      const std::uint64_t limit = random_() % 2 == 0 ? end + 50 : 0x7FFFFFFF;
      poke_entry(kPath, at, static_cast<std::uint32_t>(random_() % limit));
    }
    const auto disk = salvage(kPath);
    ASSERT_OK(disk);
    static_cast<void>(unreadable(**disk, model_));
    if (HasFailure())
      FAIL() << "round " << round;
  }
}

}  // namespace
}  // namespace vmdk::test
