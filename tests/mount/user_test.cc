// --user: root mounts, somebody else opens and serves.
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <system_error>

#include <gmock/gmock.h>

#include "mount/mount_test.h"
#include "mount/ordinary_user.h"
#include "mount/process_status.h"

namespace vmdkfuse::test {
namespace {

using testing::HasSubstr;
using testing::Not;

using Values = std::set<std::string>;

// Root, with the user "nobody" at hand, and an image.
class NobodyTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped())
      return;
    if (geteuid() != 0)
      GTEST_SKIP() << "only root can act for another user";
    const passwd* const nobody = getpwnam("nobody");
    if (nobody == nullptr)
      GTEST_SKIP() << "there is no user \"nobody\" here";
    user_ = std::to_string(nobody->pw_uid);
    group_ = std::to_string(nobody->pw_gid);
    create();
  }

  std::string user_;
  std::string group_;
};

class UserTest : public NobodyTest {
 protected:
  void SetUp() override {
    NobodyTest::SetUp();
    if (IsSkipped())
      return;
    // The image is the user's; the folder can be looked through by everybody.
    ASSERT_TRUE(shell("chmod 755 . && touch flat && mkdir dir && chown nobody disk.vmdk"));
  }

  std::string as_nobody(const std::string& command) const {
    return as_user(user_, group_, command);
  }

  // Somebody whom nothing concerns.
  static std::string as_stranger(const std::string& command) {
    return as_user("61234", "61234", command);
  }

  std::string program() const { return program_for_everybody(path("")); }

  void start(const std::string& options, const std::string& mountpoint = "flat") {
    const CommandResult result =
        vmdkfuse("--user=nobody --pid-file=pid " + options + " disk.vmdk " + mountpoint);
    ASSERT_EQ(result.status, 0) << result.to_text();
  }

  void expect_refused(const std::string& arguments, int status, const std::string& message) const {
    const CommandResult result = vmdkfuse(arguments);
    EXPECT_EQ(result.status, status) << arguments << "\n" << result.to_text();
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_FALSE(is_mounted());
  }
};

TEST_F(UserTest, NothingOfRootIsLeftInTheDaemon) {
  start("");
  ASSERT_TRUE(shell("dd if=/dev/urandom of=flat bs=1M count=2 conv=notrunc,fsync 2>/dev/null"));
  const pid_t pid = daemon();
  EXPECT_GT(thread_count(pid), 3U);
  const std::string tab = "\t";
  EXPECT_EQ(in_all_threads(pid, "Uid"), Values{user_ + tab + user_ + tab + user_ + tab + user_});
  EXPECT_EQ(in_all_threads(pid, "Gid"),
            Values{group_ + tab + group_ + tab + group_ + tab + group_});
  EXPECT_EQ(in_all_threads(pid, "Groups"), Values{group_ + " "});
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
    EXPECT_EQ(in_all_threads(pid, set), Values{"0000000000000000"}) << set;
  EXPECT_EQ(in_all_threads(pid, "NoNewPrivs"), Values{"1"});

  // Others who run as the same user can neither trace it nor look into it.
  struct stat found {};

  ASSERT_EQ(stat(("/proc/" + std::to_string(pid) + "/environ").c_str(), &found), 0);
  EXPECT_EQ(found.st_uid, 0U);
  EXPECT_NE(shell_status(as_nobody("cat /proc/$(cat pid)/environ > /dev/null")), 0);
  unmount();
}

TEST_F(UserTest, ServesFileAndFolderToTheEnd) {
  make_reference("ref");
  for (const std::string mountpoint : {"flat", "dir"}) {
    for (const bool by_signal : {false, true}) {
      SCOPED_TRACE(mountpoint + (by_signal ? " SIGTERM" : " -u"));
      const std::string disk = mountpoint == "dir" ? "dir/flat" : "flat";
      start("", mountpoint);
      // The right size before the first write, which the daemon has had to set by itself.
      EXPECT_EQ(size_of(path(disk)), kDiskSize);
      EXPECT_EQ(shell_output("stat -c '%u %g' " + disk), user_ + " " + group_);
      ASSERT_TRUE(shell("cp ref " + disk + " && cmp ref " + disk));
      EXPECT_TRUE(shell(as_nobody("cmp ref " + disk)));
      if (by_signal) {
        ASSERT_EQ(kill(daemon(), SIGTERM), 0);
        EXPECT_TRUE(daemon_ends());
        EXPECT_FALSE(is_mounted(mountpoint));
      } else {
        const CommandResult result = vmdkfuse("-u " + mountpoint);
        EXPECT_EQ(result.status, 0) << result.to_text();
        EXPECT_EQ(result.err, "") << "the daemon's word was waited for";
      }
      EXPECT_EQ(access(path("pid").c_str(), F_OK), -1);
      start("-r", mountpoint);
      EXPECT_TRUE(shell("cmp ref " + disk));
      unmount(mountpoint);
    }
  }
}

TEST_F(UserTest, TheUserUnmountsWhatIsHis) {
  start("");
  ASSERT_TRUE(shell(as_nobody("echo his | dd of=flat conv=notrunc 2>/dev/null")));
  EXPECT_NE(shell_status(as_stranger(program() + " -u flat")), 0);
  EXPECT_TRUE(is_mounted());
  const CommandResult result = in_folder(as_nobody(program() + " -u flat"));
  EXPECT_EQ(result.status, 0) << result.to_text();
  EXPECT_EQ(result.err, "") << "the daemon's word was waited for";
  EXPECT_FALSE(is_mounted());
  EXPECT_EQ(access(path("pid").c_str(), F_OK), -1);
}

TEST_F(UserTest, TheMountIsForThoseWhomRootLetsIn) {
  ASSERT_TRUE(shell("chmod 604 disk.vmdk"));
  // As all mounts of root: everybody whom the permissions let in.
  for (const std::string options : {"", "-o allow_other"}) {
    start(options);
    EXPECT_TRUE(shell("head -c 1 flat > /dev/null"));
    EXPECT_TRUE(shell(as_stranger("head -c 1 flat > /dev/null")));
    EXPECT_NE(shell_status(as_stranger("echo > flat")), 0);
    unmount();
  }
  start("-o allow_root");
  EXPECT_TRUE(shell("head -c 1 flat > /dev/null"));
  EXPECT_TRUE(shell(as_nobody("head -c 1 flat > /dev/null")));
  EXPECT_NE(shell_status(as_stranger("head -c 1 flat > /dev/null")), 0);
  unmount();
}

// An image may name what root could read and its owner could not.
TEST_F(UserTest, RootsRightsAreNotLentToAnImage) {
  ASSERT_TRUE(shell("mkdir -m 755 vm"));
  vmdk::CreateOptions flat;
  flat.type = vmdk::ImageType::kMonolithicFlat;
  create("vm/disk.vmdk", kDiskSize, flat);
  ASSERT_TRUE(shell("chown nobody vm/disk.vmdk; chmod 600 vm/disk-flat.vmdk"));
  expect_refused("--user=nobody vm/disk.vmdk flat", 32, "disk-flat.vmdk: Permission denied");
  expect_refused("--user=nobody vm/disk.vmdk flat", 32, "hint: image files are opened as nobody");
  EXPECT_EQ(vmdkfuse("--pid-file=pid vm/disk.vmdk flat").status, 0) << "root could";
  unmount();
}

TEST_F(UserTest, OverlaysAreTheUsers) {
  ASSERT_TRUE(shell("mkdir -m 700 his && chown nobody his && chmod 444 disk.vmdk"));
  start("--overlay=his/over.vmdk");
  ASSERT_TRUE(shell("echo over | dd of=flat conv=notrunc,fsync 2>/dev/null"));
  EXPECT_EQ(shell_output("stat -c %u his/over.vmdk"), user_);
  unmount();
  start("--overlay=tmp");
  ASSERT_TRUE(shell("echo gone | dd of=flat conv=notrunc,fsync 2>/dev/null"));
  unmount();
  // Where only root could make it, nobody does.
  expect_refused("--user=nobody --overlay=over.vmdk disk.vmdk flat", 32, "Permission denied");
  EXPECT_TRUE(shell("test ! -e over.vmdk"));
}

TEST_F(UserTest, LogAndPidFileAreRoots) {
  ASSERT_TRUE(shell("mkdir -m 700 private"));
  ASSERT_EQ(vmdkfuse("--user=nobody --log-file=private/log --log-level=info "
                     "--pid-file=private/pid disk.vmdk flat")
                .status,
            0);
  ASSERT_TRUE(shell("cp private/pid pid"));
  ASSERT_EQ(kill(daemon(), SIGTERM), 0);
  EXPECT_TRUE(daemon_ends());
  EXPECT_TRUE(eventually([&] { return access(path("private/pid").c_str(), F_OK) != 0; }));
  EXPECT_THAT(shell_output("cat private/log"), HasSubstr("signal 15"));
}

TEST_F(UserTest, WhatCannotBeIsSaidAtOnce) {
  expect_refused("--user=no-such-user disk.vmdk flat", 1,
                 "user: \"no-such-user\" is no user of this system");
  expect_refused("--user=nobody:no-such-group disk.vmdk flat", 1,
                 "user: \"no-such-group\" is no group of this system");
  expect_refused("--user=root disk.vmdk flat", 1, "user: \"root\" is root");
  const CommandResult ordinary = in_folder(as_nobody(program() + " --user=nobody disk.vmdk flat"));
  EXPECT_EQ(ordinary.status, 1) << ordinary.to_text();
  EXPECT_THAT(ordinary.err, HasSubstr("user: only root can hand the daemon to another user"));
}

TEST_F(UserTest, AMountpointOutOfReachIsRefusedBeforeTheImageIsOpened) {
  ASSERT_TRUE(shell("mkdir -m 700 private && touch private/flat"));
  expect_refused("--user=nobody disk.vmdk private/flat", 32, "private/flat: Permission denied");
  expect_refused("--user=nobody no-such.vmdk private/flat", 32,
                 "hint: user nobody (--user) has to be able to reach the mountpoint");
  EXPECT_FALSE(is_mounted("private/flat"));
}

TEST_F(UserTest, MountProgramPassesTheUser) {
  if (std::string(VMDKFUSE_PROGRAM).find('.') != std::string::npos)
    GTEST_SKIP() << "mount(8) takes no program with a dot in its path as a type";
  const CommandResult result =
      in_folder("mount -t " + shell_word(std::string("fuse.") + VMDKFUSE_PROGRAM) +
                " -o user=nobody,pid-file=$PWD/pid disk.vmdk flat");
  ASSERT_EQ(result.status, 0) << result.to_text();
  EXPECT_EQ(in_all_threads(daemon(), "CapEff"), Values{"0000000000000000"});
  unmount();
}

TEST_F(UserTest, ANumberWithoutAnEntryNeedsAGroup) {
  expect_refused("--user=61234 disk.vmdk flat", 1, "61234:GROUP");
  ASSERT_TRUE(shell("chown 61234:61235 disk.vmdk"));
  ASSERT_EQ(vmdkfuse("--user=61234:61235 --pid-file=pid disk.vmdk flat").status, 0);
  EXPECT_EQ(in_all_threads(daemon(), "Groups"), Values{"61235 "});
  EXPECT_EQ(shell_output("stat -c '%u %g' flat"), "61234 61235");
  unmount();
}

// An ordinary user with the files of the test and no session. fusermount3 wants one with a name.
class OrdinaryUserTest : public NobodyTest {
 protected:
  void SetUp() override {
    NobodyTest::SetUp();
    if (IsSkipped())
      return;
    ASSERT_TRUE(shell("touch flat && chmod 755 . && chown " + user_ + " . disk.vmdk flat"));
  }

  void TearDown() override {
    // Somebody else's sockets may be in it.
    std::error_code in_use;
    if (!user_.empty())
      std::filesystem::remove("/tmp/vmdkfuse-" + user_, in_use);
    NobodyTest::TearDown();
  }

  // Runs as the user, in a mount namespace of its own; `before` is root's.
  CommandResult as_the_user(const std::string& script, const std::string& before = "") const {
    const std::string program = program_for_everybody(path(""));
    return in_folder(
        with_open_fuse_device(before + as_user(user_, group_,
                                               "unset XDG_RUNTIME_DIR; vmdkfuse() { " + program +
                                                   " \"$@\"; }\n" + script)));
  }
};

TEST_F(OrdinaryUserTest, UnmountsAndWaitsWithoutASession) {
  const CommandResult result = as_the_user(
      "vmdkfuse disk.vmdk flat && echo Hello | dd of=flat conv=notrunc status=none && "
      "vmdkfuse -u flat");
  EXPECT_EQ(result.status, 0) << result.to_text();
  EXPECT_EQ(result.err, "");
  expect_check("disk.vmdk");
}

TEST_F(OrdinaryUserTest, IsToldWhereHeCannotMount) {
  ASSERT_TRUE(shell("mkdir roots"));
  const CommandResult result = as_the_user("vmdkfuse disk.vmdk roots");
  EXPECT_EQ(result.status, 32) << result.to_text();
  EXPECT_THAT(result.err, HasSubstr("hint: fusermount3 mounts only over a file or directory that "
                                    "the user may write to\n"));
}

TEST_F(OrdinaryUserTest, IsToldThatHeNeedsAName) {
  user_ = "61234";
  const CommandResult result = as_the_user("vmdkfuse -r disk.vmdk flat");
  EXPECT_EQ(result.status, 32) << result.to_text();
  EXPECT_THAT(result.err,
              HasSubstr("hint: fusermount3 mounts only for users with a name, and 61234 "
                        "has none in /etc/passwd\n"));
}

TEST_F(OrdinaryUserTest, IsToldWhatFusermountLacks) {
  const CommandResult result = as_the_user(
      "vmdkfuse disk.vmdk flat || exit; vmdkfuse -u flat; status=$?; "
      "ln -s /proc/self/mounts /etc/mtab; vmdkfuse -u flat || exit; exit $status",
      "cp /etc/passwd users && mount -t tmpfs -o mode=777 none /etc && mv users /etc/passwd && ");
  EXPECT_EQ(result.status, 2) << result.to_text();
  EXPECT_THAT(result.err, HasSubstr("/etc/mtab"));
  EXPECT_THAT(result.err, HasSubstr("    hint: fusermount3 needs it; as root: "
                                    "ln -s /proc/self/mounts /etc/mtab\n"));
}

TEST_F(OrdinaryUserTest, IsToldThatTheLimitsAreRoots) {
  const CommandResult result =
      as_the_user("vmdkfuse --tune-bdi disk.vmdk flat && vmdkfuse -u flat");
  EXPECT_EQ(result.status, 0) << result.to_text();
  EXPECT_EQ(result.err, "vmdkfuse: --tune-bdi: nothing was changed: only root can\n");
}

}  // namespace
}  // namespace vmdkfuse::test
