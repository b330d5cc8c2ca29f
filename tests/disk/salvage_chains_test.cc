// Chains of which links are missing or changed, and extents without a descriptor, salvaged.
#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "salvage_fixture.h"
#include "support/esx_builder.h"

namespace vmdk::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class SalvageChainTest : public SalvageTest {
 protected:
  static constexpr std::uint64_t kGrain = 64 * kKiB;

  // Grain 0 of the child, grain 1 of the base.
  void build_chain() {
    SparseSpec base;
    base.capacity = kMiB;
    base.grains.push_back({.index = 1, .data = random_bytes(kGrain)});
    model_.write(kGrain, base.grains[0].data);
    make("/vm/base.vmdk", base);
    SparseSpec child;
    child.capacity = kMiB;
    child.descriptor = child_of("base.vmdk");
    child.grains.push_back({.index = 0, .data = random_bytes(kGrain)});
    model_.write(0, child.grains[0].data);
    make("/vm/child.vmdk", child);
  }

  ReferenceDisk model_{kMiB};
};

TEST_F(SalvageChainTest, WithoutItsParentAChildHasItsOwnGrains) {
  build_chain();
  ASSERT_OK(memory_.remove("/vm/base.vmdk"));
  EXPECT_THAT(open_sound("/vm/child.vmdk"), HasMessage("--salvage"));
  const auto disk = salvage("/vm/child.vmdk");
  ASSERT_OK(disk);
  EXPECT_EQ(unreadable(**disk, model_), (Ranges{{kGrain, kMiB}}));
  EXPECT_THAT(notes(**disk), ElementsAre(HasSubstr("parent disk not found: what /vm/child.vmdk "
                                                   "does not have itself reads EIO")));
  ASSERT_OK_AND_ASSIGN(const DiskInfo info, Disk::look(files_, "/vm/child.vmdk", options_));
  EXPECT_TRUE(info.broken);
  EXPECT_EQ(info.salvaged_count, 1U);
  options_.layer = "0";
  EXPECT_FALSE(salvage("/vm/child.vmdk")) << "nothing has its number";
}

TEST_F(SalvageChainTest, AParentThatCannotBeOpenedIsLikeNone) {
  build_chain();
  memory_.poke("/vm/base.vmdk", 20, filled(1, 3));
  const auto disk = salvage("/vm/child.vmdk");
  ASSERT_OK(disk);
  EXPECT_EQ(unreadable(**disk, model_), (Ranges{{kGrain, kMiB}}));
}

TEST_F(SalvageChainTest, AChangedParentIsShownOnlyWhenAskedFor) {
  build_chain();
  const std::string text = memory_.text("/vm/base.vmdk");
  const auto at = text.find("CID=12345678");
  ASSERT_NE(at, std::string::npos);
  memory_.poke("/vm/base.vmdk", at, bytes_of(std::string_view("CID=99999999")));
  EXPECT_THAT(open_sound("/vm/child.vmdk"), IsError(ErrorCode::kStaleParent));
  {
    const auto disk = salvage("/vm/child.vmdk");
    ASSERT_OK(disk);
    EXPECT_THAT(unreadable(**disk, model_), Not(IsEmpty()));
    EXPECT_THAT(notes(**disk), ElementsAre(HasSubstr("12345678 is wanted, 99999999 is there")));
  }
  options_.ignore_cid = true;
  const auto disk = salvage("/vm/child.vmdk");
  ASSERT_OK(disk);
  EXPECT_THAT(unreadable(**disk, model_), IsEmpty());
  EXPECT_THAT(notes(**disk), ElementsAre(HasSubstr("12345678 is wanted, 99999999 is there")));
}

TEST_F(SalvageChainTest, ADamagedParentBeneathASoundChild) {
  build_chain();
  memory_.truncate("/vm/base.vmdk", memory_.size("/vm/base.vmdk") - 1);
  const auto disk = salvage("/vm/child.vmdk");
  ASSERT_OK(disk);
  EXPECT_EQ(unreadable(**disk, model_), (Ranges{{kGrain, 2 * kGrain}}));
}

TEST_F(SalvageChainTest, AnExtentWithoutItsDescriptor) {
  SparseSpec spec;
  spec.capacity = kMiB;
  spec.descriptor.reset();
  spec.grains.push_back({.index = 3, .data = random_bytes(kGrain)});
  model_.write(3 * kGrain, spec.grains[0].data);
  make("/vm/d-s001.vmdk", spec);
  EXPECT_THAT(open_sound("/vm/d-s001.vmdk"), IsError(ErrorCode::kInvalidArgument));
  const auto disk = salvage("/vm/d-s001.vmdk");
  ASSERT_OK(disk);
  EXPECT_EQ(unreadable(**disk, model_), (Ranges{{0, 3 * kGrain}, {4 * kGrain, kMiB}}))
      << "it may have a parent";
  EXPECT_THAT(notes(**disk), ElementsAre(HasSubstr("whether it has a parent is not known")));
  CowdSpec cowd;
  cowd.capacity = kMiB;
  cowd.grains.push_back({.index = 5, .data = random_bytes(kSectorSize)});
  ASSERT_OK(build_cowd(memory_, "/vm/x-delta.vmdk", cowd));
  const auto delta = salvage("/vm/x-delta.vmdk");
  ASSERT_OK(delta);
  ReferenceDisk model(kMiB);
  model.write(5 * kSectorSize, cowd.grains[0].data);
  EXPECT_EQ(unreadable(**delta, model), (Ranges{{0, 5 * kSectorSize}, {6 * kSectorSize, kMiB}}));
}

TEST_F(SalvageChainTest, ADescriptorIsNotMadeAnew) {
  memory_.put("/vm/d-flat.vmdk", std::string(kMiB, 'x'));
  EXPECT_THAT(salvage("/vm/d-flat.vmdk"), HasMessage("--salvage does not make a descriptor anew"));
  EXPECT_THAT(salvage("/vm/d-flat.vmdk"), HasMessage("open the disk's descriptor: /vm/d.vmdk"));
}

TEST_F(SalvageChainTest, OnlyForReading) {
  build_chain();
  options_.salvage = true;
  EXPECT_THAT(open("/vm/child.vmdk"), IsError(ErrorCode::kInvalidArgument));
  EXPECT_THAT(open("/vm/child.vmdk"), HasMessage("a damaged disk can only be read"));
}

TEST_F(SalvageChainTest, AnOverlayTakesWritesOverADamagedDisk) {
  build_chain();
  ASSERT_OK(memory_.remove("/vm/base.vmdk"));
  const auto before = memory_.contents("/vm/child.vmdk");
  options_.salvage = true;
  options_.overlay = Overlay{.file = "/vm/over.vmdk", .scratch_dir = {}};
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/child.vmdk"));
    const auto grain = random_bytes(kGrain);
    ASSERT_OK(disk->write(DiskOffset(2 * kGrain), grain));
    model_.write(2 * kGrain, grain);
    EXPECT_THAT(write(*disk, 5 * kGrain, "part of a grain"), FailsWith(EIO))
        << "nobody knows the rest of that grain";
    ASSERT_OK(write(*disk, 7, "over what is there"));
    model_.write(7, bytes_of(std::string_view("over what is there")));
    EXPECT_EQ(unreadable(*disk, model_), (Ranges{{kGrain, 2 * kGrain}, {3 * kGrain, kMiB}}));
    ASSERT_OK(disk->close());
  }
  ASSERT_OK_AND_ASSIGN(const auto again, open("/vm/child.vmdk"));
  EXPECT_EQ(unreadable(*again, model_), (Ranges{{kGrain, 2 * kGrain}, {3 * kGrain, kMiB}}));
  EXPECT_EQ(memory_.contents("/vm/child.vmdk"), before);
}

TEST_F(SalvageChainTest, AnOverlayItselfIsNotSalvaged) {
  build_chain();
  options_.salvage = true;
  options_.overlay = Overlay{.file = "/vm/over.vmdk", .scratch_dir = {}};
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/child.vmdk"));
    ASSERT_OK(write(*disk, 0, "x"));
    ASSERT_OK(disk->close());
  }
  memory_.poke("/vm/over.vmdk", 56, filled(8, 1));
  EXPECT_FALSE(open("/vm/child.vmdk"));
}

TEST_F(SalvageChainTest, TheFirstLinesAreToldAndTheRestIsCounted) {
  constexpr std::uint64_t kTables = 30;
  SparseSpec spec;
  spec.grain_size = 4 * kKiB;
  spec.capacity = kTables * 512 * spec.grain_size;
  const BuiltSparse built = make("/vm/d.vmdk", spec);
  for (std::uint64_t table = 0; table < kTables; ++table)
    poke_entry("/vm/d.vmdk", built.entry_at(table * 512), 21);
  const auto disk = salvage("/vm/d.vmdk");
  ASSERT_OK(disk);
  EXPECT_EQ(std::count(log_.begin(), log_.end(), '\n'), 21);
  EXPECT_THAT(log_, HasSubstr("salvaged: and 10 more (vmdkctl info --salvage lists them)"));
  EXPECT_EQ(notes(**disk).size(), kTables);
}

}  // namespace
}  // namespace vmdk::test
