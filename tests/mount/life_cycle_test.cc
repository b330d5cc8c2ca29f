// Signals, detached mounts, readiness, files that name the daemon.
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <utility>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

class LifeCycleTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped())
      create();
  }

  void signal_daemon(int number) const { ASSERT_EQ(kill(daemon(), number), 0); }
};

TEST_F(LifeCycleTest, EachEndingSignalUnmountsAnIdleDisk) {
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    SCOPED_TRACE(number);
    start();
    ASSERT_TRUE(shell("echo signal | dd of=flat conv=notrunc"));
    signal_daemon(number);
    expect_exit(0);
    EXPECT_FALSE(is_mounted());
    EXPECT_EQ(access(path("pid").c_str(), F_OK), -1) << "the pid file stayed";
  }
  mount("-r");
  EXPECT_EQ(shell_output("head -c 6 flat"), "signal");
}

TEST_F(LifeCycleTest, SignalOnABusyDiskServesOnAndUnmountsAtTheLastClose) {
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    SCOPED_TRACE(number);
    start();
    const int file = open(path("flat").c_str(), O_RDWR | O_CLOEXEC);
    ASSERT_GE(file, 0);
    signal_daemon(number);
    EXPECT_TRUE(eventually([&] { return messages().find("busy") != std::string::npos; }))
        << messages();
    EXPECT_TRUE(is_mounted());
    EXPECT_EQ(pwrite(file, "still", 5, 7 << 20), 5);
    EXPECT_EQ(fsync(file), 0);
    EXPECT_TRUE(shell("head -c 100 flat > /dev/null")) << "new users are served too";
    close(file);
    expect_exit(0);
    EXPECT_FALSE(is_mounted());
    ASSERT_TRUE(shell("rm messages"));
  }
  mount("-r");
  EXPECT_EQ(shell_output("dd if=flat bs=1M skip=7 count=1 2>/dev/null | head -c 5"), "still");
}

TEST_F(LifeCycleTest, WorkingDirectoryKeepsTheMountUntilItIsLeft) {
  mount_on_folder();
  const int folder = open(path("dir").c_str(), O_PATH | O_CLOEXEC);
  ASSERT_GE(folder, 0);
  signal_daemon(SIGTERM);
  usleep(300'000);
  EXPECT_TRUE(is_mounted("dir"));
  close(folder);  // no request reaches the daemon for this
  EXPECT_TRUE(daemon_ends());
  EXPECT_FALSE(is_mounted("dir"));
}

TEST_F(LifeCycleTest, SecondSignalDetachesAndServesToTheLastClose) {
  start();
  int file = open(path("flat").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(file, 0);
  signal_daemon(SIGTERM);
  EXPECT_TRUE(eventually([&] { return messages().find("busy") != std::string::npos; }));
  signal_daemon(SIGTERM);
  EXPECT_TRUE(eventually([&] { return !is_mounted(); }));
  EXPECT_TRUE(daemon_lives());
  EXPECT_EQ(pwrite(file, "after detach", 12, 4 << 20), 12);
  EXPECT_EQ(fsync(file), 0);
  close(file);
  expect_exit(0);
  mount("-r");
  EXPECT_EQ(shell_output("dd if=flat bs=1M skip=4 count=1 2>/dev/null | head -c 12"),
            "after detach");
}

TEST_F(LifeCycleTest, SomethingMountedOnTopIsNotUnmounted) {
  mount_on_folder();
  if (::mount("none", path("dir").c_str(), "tmpfs", 0, nullptr) != 0)
    GTEST_SKIP() << "no permission to mount a tmpfs";
  signal_daemon(SIGTERM);
  usleep(300'000);
  EXPECT_EQ(shell_output("stat -f -c %T dir"), "tmpfs");
  EXPECT_TRUE(daemon_lives());
  ASSERT_EQ(umount2(path("dir").c_str(), 0), 0);
  EXPECT_TRUE(daemon_ends());
  EXPECT_FALSE(is_mounted("dir"));
}

TEST_F(LifeCycleTest, LazyUnmountServesToTheLastCloseAndSavesEverything) {
  start();
  int file = open(path("flat").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(file, 0);
  ASSERT_TRUE(shell("umount -l flat"));
  EXPECT_EQ(pwrite(file, "lazy", 4, 3 << 20), 4);
  EXPECT_TRUE(daemon_lives());
  close(file);
  expect_exit(0);
  mount("-r");
  EXPECT_EQ(shell_output("dd if=flat bs=1M skip=3 count=1 2>/dev/null | head -c 4"), "lazy");
}

// A file system that lies on the disk, through a loop device.
class LoopLifeCycleTest : public LifeCycleTest {
 protected:
  void SetUp() override {
    LifeCycleTest::SetUp();
    if (IsSkipped())
      return;
    NEEDS_PROGRAM("mkfs.ext4");
    start();
    ASSERT_FALSE(HasFatalFailure());
    ASSERT_TRUE(shell("mkfs.ext4 -q -F flat && mkdir fs"));
    const auto device = attach_loop("flat");
    if (!device)
      GTEST_SKIP() << "no loop device to be had";
    device_ = *device;
    ASSERT_TRUE(shell("mount " + device_ + " fs && echo before > fs/file && sync -f fs"));
  }

  // Of a detached mount the list of loop devices does not tell the place any more.
  void TearDown() override {
    if (!device_.empty())
      in_folder("umount -l fs; losetup -d " + device_);
    LifeCycleTest::TearDown();
  }

  void use_and_let_go() {
    ASSERT_TRUE(shell("cat fs/file && echo after >> fs/file && umount fs"));
    ASSERT_TRUE(shell("losetup -d " + std::exchange(device_, "")));
    expect_exit(0);
    EXPECT_FALSE(is_mounted());
    expect_check("disk.vmdk");
    mount("-r");
    EXPECT_TRUE(shell("e2fsck -fn flat"));
    EXPECT_EQ(shell_output("debugfs -R 'cat file' flat 2>/dev/null"), "before\nafter");
  }

  std::string device_;
};

TEST_F(LoopLifeCycleTest, SignalServesOnUntilTheDeviceLetsGo) {
  signal_daemon(SIGTERM);
  EXPECT_TRUE(eventually([&] { return messages().find("busy") != std::string::npos; }));
  EXPECT_TRUE(is_mounted());
  use_and_let_go();
}

TEST_F(LoopLifeCycleTest, SecondSignalDetachesUnderTheDeviceWithoutHarm) {
  signal_daemon(SIGINT);
  EXPECT_TRUE(eventually([&] { return messages().find("busy") != std::string::npos; }));
  signal_daemon(SIGHUP);
  EXPECT_TRUE(eventually([&] { return !is_mounted(); }));
  use_and_let_go();
}

TEST_F(LifeCycleTest, PlainUmountSavesEverything) {
  make_reference("ref");
  start();
  ASSERT_TRUE(shell("cp ref flat && umount flat"));
  expect_exit(0);
  mount("-r");
  EXPECT_TRUE(shell("cmp ref flat"));
}

TEST_F(LifeCycleTest, ReadyLineComesWhenTheDiskCanBeRead) {
  ASSERT_TRUE(shell("touch flat"));
  const std::string program = shell_word(VMDKFUSE_PROGRAM);
  const std::string out = shell_output(program +
                                       " -f --pid-file=pid --ready-fd=9 disk.vmdk flat "
                                       "9>ready 2>err & for i in $(seq 500); do "
                                       "test -s ready && break; sleep 0.02; done; "
                                       "stat -c %s flat; cat ready");
  EXPECT_EQ(out, std::to_string(kDiskSize) + "\nREADY pid=" + std::to_string(daemon()));
  unmount();
  EXPECT_NE(vmdkfuse("--ready-fd=9 missing.vmdk flat 9>failed").status, 0);
  EXPECT_EQ(shell_output("cut -c 1-19 failed"), "FAIL missing.vmdk: ");
}

TEST_F(LifeCycleTest, ForegroundDaemonReturnsZeroAtTheEnd) {
  ASSERT_TRUE(shell("touch flat"));
  const std::string program = shell_word(VMDKFUSE_PROGRAM);
  EXPECT_EQ(
      shell_output(program + " -f --pid-file=pid disk.vmdk flat & p=$!; "
                             "for i in $(seq 500); do test -s pid && break; sleep 0.02; done; "
                             "sleep 0.1; umount flat; wait $p; echo $?"),
      "0");
}

TEST_F(LifeCycleTest, ManagerIsNotified) {
  NEEDS_PROGRAM("python3");
  ASSERT_TRUE(shell("touch flat"));
  const std::string listen =
      "import socket,sys;s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM);s.bind('notify');"
      "open('listening','w');s.settimeout(20);"
      "print(s.recv(999).decode().split()[0]);print(s.recv(999).decode())";
  const std::string script =
      "python3 -c " + shell_word(listen) +
      " > said & p=$!; "
      "for i in $(seq 500); do test -e listening && break; sleep 0.02; done; "
      "NOTIFY_SOCKET=\"$PWD/notify\" " +
      shell_word(VMDKFUSE_PROGRAM) + " --pid-file=pid disk.vmdk flat && " +
      shell_word(VMDKFUSE_PROGRAM) +
      " -u flat; wait $p; "
      "cat said";
  EXPECT_EQ(shell_output(script), "READY=1\nSTOPPING=1");
}

TEST_F(LifeCycleTest, SingleThreadAndTraceServeToo) {
  make_reference("ref");
  mount("-s");
  EXPECT_TRUE(shell("cp ref flat && cmp ref flat"));
  unmount();
}

TEST_F(LifeCycleTest, TuneBdiSaysWhatItDid) {
  ASSERT_TRUE(shell("touch flat"));
  const CommandResult result = vmdkfuse("--pid-file=pid --tune-bdi disk.vmdk flat");
  ASSERT_EQ(result.status, 0) << result.to_text();
  for (const char* name : {"read_ahead_kb: ", "max_ratio: ", "strict_limit: "})
    EXPECT_NE(result.err.find(name), std::string::npos) << result.err;
  unmount();
}

}  // namespace
}  // namespace vmdkfuse::test
