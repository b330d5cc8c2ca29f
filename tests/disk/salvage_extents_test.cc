// Disks of which extents are missing, cut or damaged, salvaged.
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "salvage_fixture.h"
#include "support/esx_builder.h"

namespace vmdk::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class SalvageExtentsTest : public SalvageTest {};

TEST_F(SalvageExtentsTest, FlatExtentsThatAreMissingOrCut) {
  ReferenceDisk model(3 * kMiB);
  std::vector<FlatSpec> parts;
  for (std::uint64_t i = 0; i < 3; ++i) {
    parts.push_back({.length = kMiB, .data = random_bytes(kMiB)});
    model.write(i * kMiB, parts.back().data);
  }
  DescriptorSpec descriptor;
  descriptor.create_type = "twoGbMaxExtentFlat";
  ASSERT_OK(build_flat(memory_, "/vm/d.vmdk", parts, descriptor));
  memory_.truncate("/vm/d-f002.vmdk", 1000 * kSectorSize + 17);
  EXPECT_THAT(open_sound("/vm/d.vmdk"), HasMessage("--salvage"));
  {
    const auto disk = salvage("/vm/d.vmdk");
    ASSERT_OK(disk);
    EXPECT_EQ(unreadable(**disk, model), (Ranges{{kMiB + 1000 * kSectorSize, 2 * kMiB}}));
    EXPECT_THAT(notes(**disk),
                ElementsAre(HasSubstr("d-f002.vmdk: cut: bytes 1560576 to 2097152")));
  }
  ASSERT_OK(memory_.remove("/vm/d-f002.vmdk"));
  EXPECT_THAT(open_sound("/vm/d.vmdk"), HasMessage("--salvage"));
  EXPECT_THAT(open_sound("/vm/d.vmdk"), IsError(ErrorCode::kNotFound));
  {
    const auto disk = salvage("/vm/d.vmdk");
    ASSERT_OK(disk);
    EXPECT_EQ(unreadable(**disk, model), (Ranges{{kMiB, 2 * kMiB}}));
    EXPECT_EQ((*disk)->next_data(DiskOffset(kMiB))->value(), DiskOffset(kMiB))
        << "what is not known is no hole";
  }
  ASSERT_OK(memory_.remove("/vm/d-f001.vmdk"));
  ASSERT_OK(memory_.remove("/vm/d-f003.vmdk"));
  EXPECT_THAT(salvage("/vm/d.vmdk"), IsError(ErrorCode::kNotFound)) << "nothing is left";
}

TEST_F(SalvageExtentsTest, SparseMembersThatAreMissingOrDamaged) {
  ReferenceDisk model(3 * kMiB);
  std::vector<SparseSpec> parts(3);
  for (std::uint64_t i = 0; i < 3; ++i) {
    parts[i].capacity = kMiB;
    GrainSpec grain;
    grain.index = 2;
    grain.data = random_bytes(64 * kKiB);
    model.write(i * kMiB + 2 * 64 * kKiB, grain.data);
    parts[i].grains.push_back(grain);
  }
  DescriptorSpec descriptor;
  descriptor.create_type = "twoGbMaxExtentSparse";
  ASSERT_OK(build_split_sparse(memory_, "/vm/d.vmdk", parts, descriptor));
  memory_.poke("/vm/d-s003.vmdk", 0, filled(4, 0));
  ASSERT_OK(memory_.remove("/vm/d-s001.vmdk"));
  EXPECT_THAT(open_sound("/vm/d.vmdk"), HasMessage("--salvage"));
  const auto disk = salvage("/vm/d.vmdk");
  ASSERT_OK(disk);
  EXPECT_EQ(unreadable(**disk, model), (Ranges{{0, kMiB}, {2 * kMiB, 3 * kMiB}}));
  EXPECT_EQ(notes(**disk).size(), 2U);
}

TEST_F(SalvageExtentsTest, WhatSomebodyForbidsIsNotDamage) {
  ASSERT_OK(build_flat(memory_, "/vm/d.vmdk", {{.length = kMiB}, {.length = kMiB}},
                       {.create_type = "twoGbMaxExtentFlat"}));
  memory_.set_permissions("/vm/d-f002.vmdk", 0);
  EXPECT_THAT(salvage("/vm/d.vmdk"), FailsWith(EACCES));
}

TEST_F(SalvageExtentsTest, EsxTablesHaveOneCopy) {
  constexpr std::uint64_t kCapacity = 3 * 4096 * kSectorSize;
  ReferenceDisk model(kCapacity);
  CowdSpec spec;
  spec.capacity = kCapacity;
  for (const std::uint64_t index : {1U, 4095U, 4096U, 9000U}) {
    EsxGrain grain;
    grain.index = index;
    grain.data = random_bytes(kSectorSize);
    model.write(index * kSectorSize, grain.data);
    spec.grains.push_back(grain);
  }
  auto built = build_cowd_disk(memory_, "/vm/c.vmdk", spec);
  ASSERT_OK(built);
  poke_entry("/vm/c-delta.vmdk", built->directory_entry_at(1), 0x7FFFFFFF);
  poke_entry("/vm/c-delta.vmdk", built->entry_at(9000), 1);
  EXPECT_THAT(open_sound("/vm/c.vmdk"), HasMessage("--salvage"));
  const auto disk = salvage("/vm/c.vmdk");
  ASSERT_OK(disk);
  EXPECT_EQ(unreadable(**disk, model), (Ranges{{4096 * kSectorSize, 8192 * kSectorSize},
                                               {9000 * kSectorSize, 9001 * kSectorSize}}));
}

TEST_F(SalvageExtentsTest, SeSparseTables) {
  constexpr std::uint64_t kGrain = 4 * kKiB;
  constexpr std::uint64_t kCapacity = 3 * 4096 * kGrain;
  ReferenceDisk model(kCapacity);
  SeSparseSpec spec;
  spec.capacity = kCapacity;
  for (const std::uint64_t index : {1U, 4095U, 4096U, 9000U}) {
    EsxGrain grain;
    grain.index = index;
    grain.data = random_bytes(kGrain);
    model.write(index * kGrain, grain.data);
    spec.grains.push_back(grain);
  }
  auto built = build_sesparse_disk(memory_, "/vm/e.vmdk", spec);
  ASSERT_OK(built);
  poke_entry("/vm/e-sesparse.vmdk", built->directory_entry_at(1) + 4, 0x70000000);
  EXPECT_THAT(open_sound("/vm/e.vmdk"), HasMessage("--salvage"));
  const auto disk = salvage("/vm/e.vmdk");
  ASSERT_OK(disk);
  EXPECT_EQ(unreadable(**disk, model), (Ranges{{4096 * kGrain, 8192 * kGrain}}));
  memory_.truncate("/vm/e-sesparse.vmdk", built->data.at(9000));
  const auto cut = salvage("/vm/e.vmdk");
  ASSERT_OK(cut);
  EXPECT_EQ(unreadable(**cut, model),
            (Ranges{{4096 * kGrain, 8192 * kGrain}, {9000 * kGrain, 9001 * kGrain}}));
}

}  // namespace
}  // namespace vmdk::test
