// Bytes that requests left in the file and nobody owns: whoever gets the space does not show them.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/disk.h>

#include "support/faulty_file_system.h"
#include "support/file_helpers.h"
#include "support/image_builder.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"

namespace vmdk::test {
namespace {

constexpr char kImage[] = "/vm/d.vmdk";
constexpr std::uint64_t kGrain = 4 * kKiB;
constexpr std::uint64_t kPart = 512;  // of a grain
// So far apart that nothing takes them for one stream.
constexpr DiskOffset kFirst(60 * kGrain);
constexpr DiskOffset kSecond(200 * kGrain);
constexpr DiskOffset kThird(400 * kGrain);

class StaleSpaceTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(build_sparse(memory_, kImage, {.capacity = 2 * kMiB, .grain_size = kGrain}));
    open();
  }

  void open() {
    disk_.reset();
    OpenOptions options;
    options.commit_interval = std::chrono::milliseconds::zero();
    ASSERT_OK_AND_ASSIGN(disk_, Disk::open(files_, kImage, options));
  }

  // Writes a part of a grain, and expects zeros around it, also when all is read anew.
  void expect_zeros_around_a_part(DiskOffset grain) {
    ASSERT_OK(disk_->write(grain + kPart, filled(kPart, 'p')));
    auto wanted = filled(kGrain, 0);
    std::fill_n(wanted.begin() + kPart, kPart, std::byte{'p'});
    EXPECT_EQ(read(grain), wanted);
    ASSERT_OK(disk_->close());
    open();
    EXPECT_EQ(read(grain), wanted);
  }

  void fail_to_write(DiskOffset grain) {
    files_.add({.kinds = {OpKind::kWrite}, .err = EIO, .prefix = kWholeWrite});
    EXPECT_THAT(disk_->write(grain, filled(kGrain, 's')), FailsWith(EIO));
    EXPECT_EQ(read(grain), filled(kGrain, 0));
  }

  std::vector<std::byte> read(DiskOffset at) {
    std::vector<std::byte> bytes(kGrain);
    EXPECT_OK(disk_->read(at, bytes));
    return bytes;
  }

  MemoryFileSystem memory_;
  FaultyFileSystem files_{memory_};
  std::unique_ptr<Disk> disk_;
};

TEST_F(StaleSpaceTest, WhatAFailedWriteLeftDoesNotShow) {
  ASSERT_OK(disk_->write(DiskOffset(0), filled(kPart, 'x')));  // with all that a first write does
  fail_to_write(kFirst);
  expect_zeros_around_a_part(kSecond);
}

// Of a stream, whose space is reserved ahead.
TEST_F(StaleSpaceTest, WhatAFailedWriteOfAStreamLeftDoesNotShow) {
  ASSERT_OK(disk_->write(DiskOffset(0), filled(2 * kGrain, 'x')));
  fail_to_write(DiskOffset(2 * kGrain));
  expect_zeros_around_a_part(DiskOffset(2 * kGrain));
}

// On a host that cannot punch holes.
TEST_F(StaleSpaceTest, WhatADiscardFreedDoesNotShow) {
  files_.add({.kinds = {OpKind::kPunch}, .for_ever = true, .err = EOPNOTSUPP});
  ASSERT_OK(disk_->write(kFirst, filled(kGrain, 's')));
  ASSERT_OK(disk_->flush());
  ASSERT_OK(disk_->discard(kFirst, kGrain));
  ASSERT_OK(disk_->flush());
  // Freed space is free when the requests of that time have left, which another one notices.
  ASSERT_OK(disk_->write(kThird, filled(kPart, 'x')));
  expect_zeros_around_a_part(kSecond);
}

// The space that a crash left behind the last grain.
TEST_F(StaleSpaceTest, WhatNoGrainUsedAtOpenDoesNotShow) {
  disk_.reset();
  const std::uint64_t end = memory_.size(kImage);
  memory_.poke(kImage, end, filled(4 * kGrain, 's'));
  open();
  expect_zeros_around_a_part(kSecond);
}

}  // namespace
}  // namespace vmdk::test
