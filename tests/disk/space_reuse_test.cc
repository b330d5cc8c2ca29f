// The file of an image does not become longer without end.
#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "disk_fixture.h"

namespace vmdk::test {
namespace {

constexpr char kImage[] = "/vm/d.vmdk";
constexpr std::uint64_t kCapacity = 4 * kMiB;
constexpr std::uint64_t kGrain = 64 * kKiB;

class SpaceReuseTest : public DiskFixture {
 protected:
  SpaceReuseTest() { options_.batch_grains = 4; }

  // As a file system does it that discards what it frees: each grain gets a block of `length`.
  static void discard_and_write(Disk& disk, char letter, std::size_t length) {
    ASSERT_OK(disk.discard(DiskOffset(0), kCapacity));
    ASSERT_OK(disk.flush());
    for (std::uint64_t at = 0; at < kCapacity; at += kGrain)
      ASSERT_OK(write(disk, at + 512, std::string(length, letter)));
    ASSERT_OK(disk.flush());
  }

  static void expect_blocks(Disk& disk, char letter, std::size_t length) {
    for (std::uint64_t at = 0; at < kCapacity; at += kGrain)
      ASSERT_EQ(read(disk, at, kGrain), std::string(512, '\0') + std::string(length, letter) +
                                            std::string(kGrain - 512 - length, '\0'));
  }

  std::uint64_t longest_ = 0;  // that the file was
};

TEST_F(SpaceReuseTest, DiscardsAndPartialWritesInTurnDoNotMakeTheFileLongerWithoutEnd) {
  make_sparse(kImage, {}, {}, kCapacity);
  for (int session = 0; session < 3; ++session) {
    ASSERT_OK_AND_ASSIGN(auto disk, open(kImage));
    for (int round = 0; round < 10; ++round) {
      const char letter = static_cast<char>('a' + round);
      const std::size_t length = round % 2 == 0 ? 4096 : 700;
      ASSERT_NO_FATAL_FAILURE(discard_and_write(*disk, letter, length));
      ASSERT_NO_FATAL_FAILURE(expect_blocks(*disk, letter, length));
      longest_ = std::max(longest_, memory_.size(kImage));
    }
    ASSERT_OK(disk->close());
  }
  EXPECT_LE(longest_, 2 * kCapacity + kMiB);
  ASSERT_OK_AND_ASSIGN(const auto report, check_image(files_, kImage, {}));
  EXPECT_EQ(report.exit_code(), 0);
}

}  // namespace
}  // namespace vmdk::test
