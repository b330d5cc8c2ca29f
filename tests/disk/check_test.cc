// check_image(): what it finds.
#include <string>

#include <gtest/gtest.h>

#include <vmdk/check.h>

#include "check_fixture.h"

namespace vmdk::test {
namespace {

using CheckTest = CheckFixture;

TEST_F(CheckTest, ACleanImage) {
  make_image(false);
  const auto before = all_bytes();
  const CheckReport report = check(true, true);
  EXPECT_EQ(report.exit_code(), 0) << text_of(report);
  EXPECT_TRUE(report.findings.empty()) << text_of(report);
  EXPECT_EQ(report.allocated_grains, 2U);
  EXPECT_EQ(report.total_grains, 1024U);
  EXPECT_TRUE(all_bytes() == before) << "nothing to mend, nothing written";
}

TEST_F(CheckTest, DamagedHeadersAndDirectoriesAreFindings) {
  make_image(false);
  poke_entry("/vm/d.vmdk", built_.directory_entry_at(1), 0xFFFFFF);
  expect_says(check(), "lies behind the end of the file");
  EXPECT_EQ(check().exit_code(), 2);
}

// The same in an image's own file, in a member of a split one, and in a parent.
TEST_F(CheckTest, ADamagedHeaderIsDamageWhereverItStands) {
  const auto spoil = [&](const std::filesystem::path& path) {
    const std::array<std::byte, 8> grain_size{std::byte{7}};
    memory_.poke(path, 20, grain_size);
  };
  make_image(false);
  ASSERT_OK(build_split_sparse(memory_, "/vm/split.vmdk", {SparseSpec{.capacity = kMiB}}));
  make_sparse("/vm/child.vmdk", child_of("d.vmdk"));
  spoil("/vm/d.vmdk");
  spoil("/vm/split-s001.vmdk");
  for (const char* image : {"/vm/d.vmdk", "/vm/split.vmdk", "/vm/child.vmdk"}) {
    CheckOptions options;
    options.repair = true;
    const auto before = all_bytes();
    ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(memory_, image, options));
    EXPECT_EQ(report.exit_code(), 2) << image;
    expect_says(report, "grainSize");
    EXPECT_TRUE(all_bytes() == before) << image;
  }
  memory_.put("/vm/notes.txt", "no image");
  EXPECT_THAT(check_image(memory_, "/vm/notes.txt", {}), IsError(ErrorCode::kUnsupported));
}

TEST_F(CheckTest, FiguresAreThoseOfEachImage) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/d.vmdk", child_of("base.vmdk"));
  const CheckReport report = check();
  EXPECT_EQ(report.allocated_grains, 0U);
  EXPECT_EQ(report.total_grains, 16U);
  ASSERT_EQ(report.layers.size(), 2U);
  EXPECT_EQ(report.layers[0].file, "/vm/d.vmdk");
  EXPECT_EQ(report.layers[0].allocated_grains, 0U);
  EXPECT_EQ(report.layers[1].file, "/vm/base.vmdk");
  EXPECT_EQ(report.layers[1].allocated_grains, 1U);
  EXPECT_EQ(report.layers[1].total_grains, 16U);
}

TEST_F(CheckTest, TheWholeChainIsChecked) {
  make_sparse("/vm/d.vmdk", child_of("base.vmdk"));
  expect_says(check(), "parent disk not found");
  EXPECT_EQ(check().exit_code(), 2);
  const auto base = make_sparse("/vm/base.vmdk", {}, "base");
  EXPECT_EQ(check().exit_code(), 0);
  poke_entry("/vm/base.vmdk", base.entry_at(3), 5);
  poke_entry("/vm/base.vmdk", base.entry_at(3, true), 5);
  const CheckReport report = check();
  EXPECT_EQ(report.exit_code(), 2);
  expect_says(report, "/vm/base.vmdk: grain 3");
  CheckOptions only_top;
  only_top.chain = false;
  EXPECT_EQ(check_image(memory_, "/vm/d.vmdk", only_top)->exit_code(), 0);
}

TEST_F(CheckTest, ALoopOfParentsEnds) {
  make_sparse("/vm/d.vmdk", child_of("d.vmdk", 5, 5));
  expect_says(check(), "the chain of parents does not end");
}

TEST_F(CheckTest, FlatFilesThatAreCut) {
  ASSERT_OK(build_flat(memory_, "/vm/d.vmdk", {{.length = kMiB}, {.length = kMiB}}));
  EXPECT_EQ(check().exit_code(), 0);
  memory_.truncate("/vm/d-f002.vmdk", 100);
  expect_says(check(), "/vm/d-f002.vmdk: cut: it has 100 bytes, its line needs 1048576");
  ASSERT_OK(memory_.remove("/vm/d-f001.vmdk"));
  const CheckReport report = check();
  EXPECT_EQ(report.damage_count, 2U) << text_of(report);
}

// What may not be looked at is neither sound nor damaged.
TEST_F(CheckTest, ExtentsOutsideTheFolderAreNotJudged) {
  memory_.put("/other/f.raw", std::string(kMiB, 'f'));
  DescriptorSpec descriptor;
  descriptor.create_type = "monolithicFlat";
  descriptor.extent_lines = {extent_line("RW", kMiB, "FLAT", "../other/f.raw", 0)};
  ASSERT_OK(build_descriptor(memory_, "/vm/d.vmdk", descriptor));
  EXPECT_THAT(check_image(files_, "/vm/d.vmdk", {}), IsError(ErrorCode::kDenied));
  CheckOptions allowed;
  allowed.open.allow_dirs = {"/other"};
  ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(files_, "/vm/d.vmdk", allowed));
  EXPECT_EQ(report.exit_code(), 0);
}

TEST_F(CheckTest, ADescriptorIsNoExtentOfItself) {
  DescriptorSpec descriptor;
  descriptor.create_type = "monolithicFlat";
  descriptor.extent_lines = {extent_line("RW", kSectorSize, "FLAT", "d.vmdk", 0)};
  descriptor.more_lines = {"# " + std::string(kSectorSize, '-')};
  ASSERT_OK(build_descriptor(memory_, "/vm/d.vmdk", descriptor));
  ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(files_, "/vm/d.vmdk", {}));
  EXPECT_EQ(report.exit_code(), 2);
}

TEST_F(CheckTest, AnImageInUseIsNotChecked) {
  make_image(false);
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  EXPECT_THAT(check_image(memory_, "/vm/d.vmdk", {}), IsError(ErrorCode::kBusy));
}

}  // namespace
}  // namespace vmdk::test
