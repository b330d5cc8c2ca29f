// The connection to the kernel ends while the disk is mounted.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include <gmock/gmock.h>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

class AbortTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped())
      return;
    // The kernel's knobs for FUSE, in a place of our own.
    if (const CommandResult result = in_folder("mkdir knobs && mount -t fusectl none knobs");
        result.status != 0)
      GTEST_SKIP() << "no permission to mount fusectl: " << result.err;
    create();
  }

  void abort_connection() {
    struct stat found {};

    ASSERT_EQ(stat(path("flat").c_str(), &found), 0);
    const std::string number = std::to_string(minor(found.st_dev));
    ASSERT_TRUE(shell("echo 1 > knobs/" + number + "/abort"));
  }

  // The dead mount is told of and taken away.
  void expect_dead_mount() {
    EXPECT_TRUE(is_mounted());
    const CommandResult verdict = vmdkfuse("-u flat");
    EXPECT_EQ(verdict.status, 4) << verdict.to_text();
    EXPECT_THAT(verdict.err, HasSubstr("the daemon died; what it had not written yet is lost"));
    EXPECT_FALSE(is_mounted());
  }
};

TEST_F(AbortTest, WhatTheDaemonHasIsCommittedAndTheEndIsAFailure) {
  start("--cache=writethrough --commit=0 disk.vmdk flat");
  ASSERT_FALSE(HasFatalFailure());
  {
    const vmdk::UniqueFd file(open(path("flat").c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(pwrite(file.get(), "handed over", 11, 3 << 20), 11);
    abort_connection();
    expect_exit(2);
    EXPECT_EQ(pwrite(file.get(), "too late", 8, 0), -1);
    EXPECT_EQ(errno, ENOTCONN) << std::strerror(errno);
    EXPECT_EQ(fsync(file.get()), -1);
  }
  EXPECT_THAT(messages(), HasSubstr("disk.vmdk: the connection to the kernel was aborted while the "
                                    "disk was mounted; what it had not handed over is lost"));
  expect_dead_mount();
  expect_check("disk.vmdk");
  mount("-r");
  EXPECT_EQ(shell_output("dd if=flat bs=1M skip=3 count=1 2>/dev/null | head -c 11"),
            "handed over");
}

TEST_F(AbortTest, TheMountThatIsLeftIsTakenAway) {
  start("-r disk.vmdk flat");
  ASSERT_FALSE(HasFatalFailure());
  abort_connection();
  expect_exit(2);
  EXPECT_THAT(messages(), EndsWith("aborted while the disk was mounted"));
  expect_dead_mount();
}

// The daemon cannot read what the kernel asks, so nobody serves the mount. Whether that is dead
// must not be asked of it then: there would be no answer and no end.
TEST_F(AbortTest, ADaemonThatCannotReadRequestsEnds) {
  NEEDS_PROGRAM("strace");
  start("disk.vmdk flat");
  ASSERT_FALSE(HasFatalFailure());
  // The reads that wait are begun again, and fail then.
  const CommandResult traced = in_folder(
      "timeout 20 strace -qq -f -o trace -P /dev/fuse -e trace=read,splice"
      " -e inject=read,splice:error=EIO -p " +
      std::to_string(daemon()));
  EXPECT_THAT(shell_output("cat trace"), HasSubstr("INJECTED")) << traced.to_text();
  expect_exit(2);
  EXPECT_TRUE(shell("umount flat"));
}

}  // namespace
}  // namespace vmdkfuse::test
