// Files that another program cuts while they are open for writing: locks cannot keep it from that.
#include <cerrno>
#include <string>

#include <gtest/gtest.h>

#include "disk_fixture.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kGrain = 64 * kKiB;

class CutTest : public DiskFixture {
 protected:
  // From now on nothing is written, but what is there is read.
  static void expect_given_up(Disk& disk) {
    EXPECT_THAT(disk.flush(), HasMessage("has been cut by another program"));
    EXPECT_THAT(disk.sticky_status(), FailsWith(EIO));
    EXPECT_THAT(write(disk, 0, "more"), FailsWith(EIO));
    EXPECT_THAT(disk.flush(), FailsWith(EIO));
    EXPECT_THAT(disk.close(), FailsWith(EIO));
  }
};

TEST_F(CutTest, ASparseFileIsNotMadeLongEnoughAgain) {
  make_sparse("/vm/d.vmdk", {}, "first");
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  ASSERT_OK(write(*disk, 8 * kGrain, std::string(2 * kGrain, 'a')));
  ASSERT_OK(disk->flush());
  ASSERT_OK(write(*disk, 12 * kGrain, std::string(kGrain, 'b')));
  const std::uint64_t left = memory_.size("/vm/d.vmdk") - 2 * kGrain;
  memory_.truncate("/vm/d.vmdk", left);
  std::string bytes(kGrain, '?');
  EXPECT_THAT(disk->read(DiskOffset(12 * kGrain), std::as_writable_bytes(std::span(bytes))),
              FailsWith(EIO));
  expect_given_up(*disk);
  EXPECT_EQ(memory_.size("/vm/d.vmdk"), left);
  EXPECT_TRUE(marked("/vm/d.vmdk"));
  EXPECT_EQ(read(*disk, 0, 5), "first");
}

// Of grains that were written since the disk was opened, too, a commit made the file long enough.
TEST_F(CutTest, WhatWasCommittedAndIsGoneDoesNotReadAsZeros) {
  const std::uint64_t before = make_sparse("/vm/d.vmdk").file_size;
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  ASSERT_OK(write(*disk, 0, std::string(kGrain, 'a')));
  ASSERT_OK(write(*disk, 4 * kGrain, "a part of the last grain"));
  ASSERT_OK(disk->flush());
  memory_.truncate("/vm/d.vmdk", memory_.size("/vm/d.vmdk") - 100);
  std::string bytes(kGrain, '?');
  EXPECT_THAT(disk->read(DiskOffset(4 * kGrain), std::as_writable_bytes(std::span(bytes))),
              FailsWith(EIO));
  memory_.truncate("/vm/d.vmdk", before);
  EXPECT_THAT(disk->read(DiskOffset(0), std::as_writable_bytes(std::span(bytes))), FailsWith(EIO));
  expect_given_up(*disk);
}

TEST_F(CutTest, AFlatFile) {
  ASSERT_OK(build_flat(memory_, "/vm/d.vmdk",
                       {{.length = kMiB, .data = filled(kMiB, 7)}, {.length = kMiB}}));
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  memory_.truncate("/vm/d-f001.vmdk", kMiB - 1);
  ASSERT_OK(write(*disk, kMiB, "into the other file"));
  expect_given_up(*disk);
  EXPECT_EQ(memory_.size("/vm/d-f001.vmdk"), kMiB - 1);
}

TEST_F(CutTest, AFileThatIsLongerDoesNoHarm) {
  make_sparse("/vm/d.vmdk");
  ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
  ASSERT_OK(write(*disk, 0, "x"));
  ASSERT_OK(disk->flush());
  memory_.truncate("/vm/d.vmdk", 10 * kMiB);
  ASSERT_OK(write(*disk, 5 * kGrain, "y"));
  ASSERT_OK(disk->flush());
  ASSERT_OK(disk->close());
}

}  // namespace
}  // namespace vmdk::test
