// resize_image() on a file system in memory.
#include <cstdint>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include <vmdk/create.h>
#include <vmdk/resize.h>

#include "disk/disk_fixture.h"
#include "disk/image_text.h"
#include "support/image_judges.h"
#include "support/must.h"
#include "support/sample_disk.h"

namespace vmdk::test {
namespace {

namespace fs = std::filesystem;

class ResizeTest : public DiskFixture {
 protected:
  Status resize(const fs::path& image, std::uint64_t capacity) {
    return resize_image(files_, image, capacity, more_);
  }

  void create(const fs::path& image, ImageType type, std::uint64_t capacity) {
    CreateOptions options;
    options.type = type;
    options.capacity = capacity;
    ASSERT_OK(create_image(files_, image, options));
  }

  Descriptor descriptor_of(const fs::path& image) {
    return must(read_image_text(*must(memory_.open(image, Access::kReadOnly)))).descriptor;
  }

  void write_text(const fs::path& image, std::uint64_t at, std::string_view text) {
    ASSERT_OK_AND_ASSIGN(const auto disk, open(image));
    ASSERT_OK(write(*disk, at, text));
    ASSERT_OK(disk->close());
  }

  ResizeOptions more_;
};

class ResizeTypesTest : public ResizeTest, public testing::WithParamInterface<ImageType> {};

TEST_P(ResizeTypesTest, WhatWasThereStaysAndWhatIsNewIsZeros) {
  constexpr std::uint64_t kOld = 3 * kMiB + 512;
  create("/vm/disk.vmdk", GetParam(), kOld);
  write_text("/vm/disk.vmdk", kOld - 6, "at end");
  const Descriptor before = descriptor_of("/vm/disk.vmdk");
  constexpr std::uint64_t kNew = 100 * kMiB;
  ASSERT_OK(resize("/vm/disk.vmdk", kNew));
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/disk.vmdk"));
    ASSERT_EQ(disk->capacity(), kNew);
    EXPECT_EQ(read(*disk, kOld - 6, 10), std::string("at end\0\0\0\0", 10));
    EXPECT_EQ(read(*disk, kNew - 4, 4), std::string(4, '\0'));
    ASSERT_OK(write(*disk, kNew - 4, "last"));
    ASSERT_OK(disk->close());
  }
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/disk.vmdk"));
  EXPECT_EQ(read(*disk, kNew - 4, 4), "last");
  const Descriptor after = descriptor_of("/vm/disk.vmdk");
  EXPECT_NE(after.cid(), before.cid());
  EXPECT_EQ(after.create_type(), before.create_type());
  EXPECT_NE(after.value("ddb.geometry.cylinders"), before.value("ddb.geometry.cylinders"));
  EXPECT_EQ(wrong_check(files_, "/vm/disk.vmdk"), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(Types, ResizeTypesTest,
                         testing::Values(ImageType::kMonolithicSparse,
                                         ImageType::kTwoGbMaxExtentSparse,
                                         ImageType::kMonolithicFlat, ImageType::kTwoGbMaxExtentFlat,
                                         ImageType::kVmfs));

TEST_F(ResizeTest, MembersOfSplitImagesStayBelow2GiB) {
  for (const ImageType type : {ImageType::kTwoGbMaxExtentSparse, ImageType::kTwoGbMaxExtentFlat}) {
    const char letter = type == ImageType::kTwoGbMaxExtentFlat ? 'f' : 's';
    const fs::path image = std::string("/vm/") + letter + ".vmdk";
    create(image, type, kGiB);
    ASSERT_OK(resize(image, 5 * kGiB));
    const Descriptor after = descriptor_of(image);
    ASSERT_EQ(after.extents().size(), 3U);
    EXPECT_EQ(after.extents()[0].length.count(), 4192256U);
    EXPECT_EQ(after.extents()[1].length.count(), 4192256U);
    EXPECT_EQ(after.extents()[2].file_name, std::string(1, letter) + "-" + letter + "003.vmdk");
    write_text(image, 5 * kGiB - 8, "the end.");
    EXPECT_EQ(wrong_check(files_, image), std::nullopt);
  }
}

// What a run that was cut short has left is neither taken nor in the way.
TEST_F(ResizeTest, FilesThatNothingNamesAreLeftAlone) {
  create("/vm/s.vmdk", ImageType::kTwoGbMaxExtentSparse, kGiB);
  memory_.put("/vm/s-s002.vmdk", "somebody's");
  ASSERT_OK(resize("/vm/s.vmdk", 3 * kGiB));
  EXPECT_EQ(memory_.text("/vm/s-s002.vmdk"), "somebody's");
  EXPECT_EQ(descriptor_of("/vm/s.vmdk").extents()[1].file_name, "s-s003.vmdk");
}

TEST_F(ResizeTest, BytesBehindTheEndOfAFlatExtentDoNotShow) {
  create("/vm/disk.vmdk", ImageType::kMonolithicFlat, kMiB);
  memory_.poke("/vm/disk-flat.vmdk", kMiB, bytes_of("never shown"));
  ASSERT_OK(resize("/vm/disk.vmdk", 2 * kMiB));
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/disk.vmdk"));
  EXPECT_EQ(read(*disk, kMiB, 11), std::string(11, '\0'));
}

TEST_F(ResizeTest, RefusesWhatWouldLoseOrHideSomething) {
  make_sparse("/vm/base.vmdk", {}, "base");
  make_sparse("/vm/top.vmdk", child_of("base.vmdk"), "over");
  const auto before = all_bytes();
  EXPECT_THAT(resize("/vm/base.vmdk", kMiB / 2), IsError(ErrorCode::kBusy));
  EXPECT_THAT(resize("/vm/top.vmdk", 2 * kMiB), HasMessage("size of its parent"));
  EXPECT_THAT(resize("/vm/base.vmdk", 2 * kMiB), HasMessage("top.vmdk is a snapshot of it"));
  EXPECT_THAT(resize("/vm/base.vmdk", 2 * kMiB), HasMessage("vmdkctl commit ends one"));
  ASSERT_OK(memory_.remove("/vm/top.vmdk"));
  EXPECT_THAT(resize("/vm/base.vmdk", kMiB / 2), IsError(ErrorCode::kInvalidArgument));
  EXPECT_THAT(resize("/vm/base.vmdk", 2 * kMiB + 1), IsError(ErrorCode::kInvalidArgument));
  EXPECT_EQ(memory_.contents("/vm/base.vmdk"), before.at("/vm/base.vmdk"));
  // The same size is no work.
  ASSERT_OK(resize("/vm/base.vmdk", kMiB));
  EXPECT_EQ(memory_.contents("/vm/base.vmdk"), before.at("/vm/base.vmdk"));
}

TEST_F(ResizeTest, NamesTheFileThatCannotBecomeSoLong) {
  make_sparse("/vm/disk.vmdk");
  EXPECT_THAT(resize("/vm/disk.vmdk", 3 * 1024 * kGiB),
              HasMessage("/vm/disk.vmdk: one sparse file cannot hold"));
}

TEST_F(ResizeTest, RefusesTwoExtentsInOneFile) {
  DescriptorSpec text{.create_type = "monolithicFlat"};
  text.extent_lines = {extent_line("RW", kMiB, "FLAT", "flat", kMiB),
                       extent_line("RW", kMiB, "FLAT", "flat", 0)};
  ASSERT_OK(build_descriptor(memory_, "/vm/disk.vmdk", text));
  memory_.put("/vm/flat", std::string(2 * kMiB, 'x'));
  EXPECT_THAT(resize("/vm/disk.vmdk", 3 * kMiB), HasMessage("two of its extents"));
  EXPECT_EQ(memory_.text("/vm/flat"), std::string(2 * kMiB, 'x'));
}

}  // namespace
}  // namespace vmdk::test
