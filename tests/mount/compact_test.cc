// vmdkctl compact after files were deleted inside the disk: what they took is given back, after
// fstrim and after their blocks were overwritten with zeros.
#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

constexpr std::uint64_t kGrain = 64 * vmdk::kKiB;
constexpr std::uint64_t kSize = 96 * vmdk::kMiB;
// Header, descriptor and tables of such a disk, in whole grains.
constexpr std::uint64_t kOverhead = kGrain;

class CompactTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped())
      create("disk.vmdk", kSize);
  }

  // Mounts disk.vmdk with what ext4 needs on top, does the work in the folder `fs`, and lets go.
  void with_file_system(const std::string& work, bool make) {
    start();
    ASSERT_FALSE(HasFatalFailure());
    if (make)
      ASSERT_TRUE(shell("mkdir fs && mkfs.ext4 -q -F flat"));
    const auto device = attach_loop("flat");
    if (!device)
      GTEST_SKIP() << "no loop device to be had";
    ASSERT_TRUE(shell("mount " + *device + " fs"));
    EXPECT_TRUE(shell(work));
    EXPECT_TRUE(shell("umount fs"));
    EXPECT_TRUE(shell("losetup -d " + *device));
    eventually([&] { return vmdkfuse("-u flat").status != 32; });
    expect_exit(0);
  }

  // Grains of the disk that are not all zeros.
  std::uint64_t count_grains() const {
    shell("rm -f raw && " + shell_word(VMDKCTL_PROGRAM) + " cat disk.vmdk > raw");
    std::ifstream raw(path("raw"), std::ios::binary);
    std::vector<char> grain(kGrain);
    std::uint64_t count = 0;
    while (raw.read(grain.data(), static_cast<std::streamsize>(grain.size())))
      count += std::any_of(grain.begin(), grain.end(), [](char c) { return c != 0; }) ? 1 : 0;
    return count;
  }

  void expect_compact() {
    const std::uint64_t grains = count_grains();
    const std::uint64_t before = size_of(path("disk.vmdk"));
    ASSERT_TRUE(shell(shell_word(VMDKCTL_PROGRAM) + " compact disk.vmdk"));
    const double wanted = static_cast<double>(kOverhead + grains * kGrain);
    EXPECT_GT(grains, 10U);
    EXPECT_LE(static_cast<double>(size_of(path("disk.vmdk"))), wanted * 1.01);
    EXPECT_GT(before, size_of(path("disk.vmdk")) + 30 * vmdk::kMiB) << "nothing was to be gained";
    expect_check("disk.vmdk");
    EXPECT_TRUE(shell(shell_word(VMDKCTL_PROGRAM) + " compare --raw=b disk.vmdk raw"));
    with_file_system("sha256sum -c --quiet sums", false);
  }

  const std::string fill_ =
      "dd if=/dev/urandom of=fs/kept bs=1M count=5 status=none && "
      "dd if=/dev/urandom of=fs/gone bs=1M count=40 status=none && sync -f fs && "
      // Behind the other one in the image, so that this does not become shorter by itself.
      "dd if=/dev/urandom of=fs/behind bs=1M count=1 status=none && sync -f fs && "
      "sha256sum fs/kept fs/behind > sums && rm fs/gone && sync -f fs && ";
};

TEST_F(CompactTest, AfterFstrim) {
  NEEDS_PROGRAM("mkfs.ext4");
  NEEDS_PROGRAM("fstrim");
  with_file_system(fill_ + "fstrim fs", true);
  if (HasFatalFailure() || IsSkipped())
    return;
  expect_compact();
}

TEST_F(CompactTest, AfterFillingWithZeros) {
  NEEDS_PROGRAM("mkfs.ext4");
  with_file_system(
      fill_ + "{ dd if=/dev/zero of=fs/zeros bs=1M status=none 2>/dev/null; rm fs/zeros; }", true);
  if (HasFatalFailure() || IsSkipped())
    return;
  expect_compact();
}

}  // namespace
}  // namespace vmdkfuse::test
