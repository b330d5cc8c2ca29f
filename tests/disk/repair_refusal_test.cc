// Repairs: what keeps them off an image, and the kinds of which nothing is repaired.
#include <cstdint>
#include <string>

#include <gtest/gtest.h>

#include "repair_fixture.h"
#include "support/esx_builder.h"
#include "support/stream_builder.h"

namespace vmdk::test {
namespace {

using RepairTest = RepairFixture;

TEST_F(RepairTest, AnImageInUseIsNotRepaired) {
  make_image(true);
  const auto before = all_bytes();
  {
    ASSERT_OK_AND_ASSIGN(const auto reader, open_readonly(kImage));
    EXPECT_THAT(check_image(memory_, kImage, repairing()), IsError(ErrorCode::kBusy));
    EXPECT_EQ(check(true, false, true).exit_code(), 3) << "a plan needs a reader's lock only";
  }
  ASSERT_OK_AND_ASSIGN(const auto writer, open(kImage));
  EXPECT_THAT(check_image(memory_, kImage, repairing()), IsError(ErrorCode::kBusy));
  EXPECT_TRUE(all_bytes() == before);
}

// Each file of it, not the descriptor alone.
TEST_F(RepairTest, AnExtentInUseIsNotRepaired) {
  SparseSpec part;
  part.capacity = 2 * kMiB;
  part.unclean = true;
  ASSERT_OK(build_split_sparse(memory_, kImage, {part, part}));
  const auto before = all_bytes();
  ASSERT_OK_AND_ASSIGN(const auto other, memory_.open("/vm/d-s002.vmdk", Access::kReadOnly));
  ASSERT_OK(other->lock(LockMode::kRead));
  EXPECT_THAT(check_image(memory_, kImage, repairing()), IsError(ErrorCode::kBusy));
  EXPECT_TRUE(all_bytes() == before);
}

TEST_F(RepairTest, AnImageThatVmwareUsesIsNotRepaired) {
  make_image(true);
  memory_.put("/vm/d.vmdk.lck/M1.lck", "x");
  const auto before = all_bytes();
  EXPECT_EQ(check().exit_code(), 3) << "looking is allowed";
  CheckOptions options = repairing();
  EXPECT_THAT(check_image(memory_, kImage, options), IsError(ErrorCode::kBusy));
  options.dry_run = true;
  EXPECT_THAT(check_image(memory_, kImage, options), IsError(ErrorCode::kBusy));
  EXPECT_TRUE(all_bytes() == before);
  options.dry_run = false;
  options.open.force_stale_lck = true;
  EXPECT_EQ(check_image(memory_, kImage, options)->exit_code(), 0);
}

TEST_F(RepairTest, AnImageWithASnapshotIsNotRepaired) {
  make_image(true);
  make_sparse("/vm/child.vmdk", child_of("d.vmdk"));
  const auto before = all_bytes();
  CheckOptions options = repairing();
  const auto refused = check_image(memory_, kImage, options);
  EXPECT_THAT(refused, IsError(ErrorCode::kBusy));
  EXPECT_THAT(refused, HasMessage("child.vmdk is a snapshot of it"));
  EXPECT_THAT(refused, HasMessage("--force=children repairs it all the same"));
  EXPECT_EQ(check().exit_code(), 3) << "looking is allowed";
  EXPECT_TRUE(all_bytes() == before);
  options.open.force_children = true;
  EXPECT_EQ(check_image(memory_, kImage, options)->exit_code(), 0);
  EXPECT_OK(open_readonly("/vm/child.vmdk")) << "its parent is still the one it was made over";
}

TEST_F(RepairTest, ParentsAreNeverRepaired) {
  SparseSpec unclean;
  unclean.capacity = kMiB;
  unclean.unclean = true;
  make("/vm/base.vmdk", unclean);
  make_sparse(kImage, child_of("base.vmdk"));
  const auto before = all_bytes();
  EXPECT_EQ(check(true, true).exit_code(), 3);
  EXPECT_TRUE(all_bytes() == before);
}

class IdleKindsTest : public RepairTest {
 protected:
  void expect_idle(int exit_code, const std::string& why, std::uint64_t extents = 1) {
    const auto before = all_bytes();
    const CheckReport report = check(true, true);
    EXPECT_EQ(report.exit_code(), exit_code) << text_of(report);
    ASSERT_EQ(report.repairs.size(), 1U) << text_of(report);
    EXPECT_EQ(report.repairs[0].state, RepairState::kLeft);
    EXPECT_EQ(report.repairs[0].count, extents);
    expect_says(report, why);
    EXPECT_TRUE(all_bytes() == before);
  }
};

TEST_F(IdleKindsTest, Flat) {
  ASSERT_OK(build_flat(memory_, kImage, {{.length = kMiB}, {.length = kMiB}}));
  expect_idle(0, "flat extents have neither grain tables nor a mark: there is nothing to repair",
              2);
}

TEST_F(IdleKindsTest, Stream) {
  StreamSpec spec;
  spec.capacity = kMiB;
  ASSERT_OK(build_stream(memory_, kImage, spec));
  expect_idle(0, "streamOptimized extents are written once");
}

TEST_F(IdleKindsTest, SeSparse) {
  SeSparseSpec spec;
  spec.capacity = 20 * kMiB;
  spec.replay_journal = 1;
  ASSERT_OK(build_sesparse_disk(memory_, kImage, spec));
  expect_idle(3, "SESparse extents are only read: how their free grains are kept");
}

TEST_F(IdleKindsTest, Workstation3) {
  CowdSpec spec;
  spec.capacity = kMiB;
  spec.version = 3;
  spec.edit_header = [](std::span<std::byte> bytes) { store_le32(bytes, kCowdUncleanAt, 1); };
  ASSERT_OK(build_cowd(memory_, kImage, spec));
  expect_idle(3, "Workstation 3 disks are only read: nothing is repaired");
}

TEST_F(IdleKindsTest, CowdWithFlagsThatNobodyKnows) {
  CowdSpec spec;
  spec.capacity = kMiB;
  spec.edit_header = [](std::span<std::byte> bytes) {
    store_le32(bytes, kCowdFlagsAt, 7);
    store_le32(bytes, kCowdUncleanAt, 1);
  };
  ASSERT_OK(build_cowd_disk(memory_, kImage, spec));
  expect_idle(3, "flags 0x7 of its header are not known: nothing is repaired");
}

TEST_F(IdleKindsTest, HeadersOfVersion3) {
  SparseSpec spec;
  spec.capacity = kMiB;
  spec.unclean = true;
  spec.edit_header = [](SparseHeader& header) { header.version = 3; };
  make(kImage, spec);
  expect_idle(3, "header version 3 is read-only: nothing is repaired");
}

TEST_F(IdleKindsTest, ExtentsThatAreCalledReadOnly) {
  SparseSpec spec;
  spec.capacity = kMiB;
  spec.unclean = true;
  spec.descriptor = std::nullopt;
  make("/vm/d-s001.vmdk", spec);
  memory_.set_permissions("/vm/d-s001.vmdk", 0400);
  DescriptorSpec descriptor;
  descriptor.create_type = "twoGbMaxExtentSparse";
  descriptor.extent_lines = {extent_line("RDONLY", kMiB, "SPARSE", "d-s001.vmdk")};
  ASSERT_OK(build_descriptor(memory_, kImage, descriptor));
  expect_idle(3, "extents that the descriptor calls RDONLY are not changed");
}

}  // namespace
}  // namespace vmdk::test
