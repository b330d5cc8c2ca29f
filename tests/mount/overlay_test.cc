// Writing over an image that must stay as it is: --overlay.
#include <signal.h>

#include <fstream>
#include <string>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

class OverlayMountTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped())
      return;
    create("base.vmdk");
    vmdk::CreateOptions child;
    child.parent = path("base.vmdk");
    create("disk.vmdk", 0, child);
    make_reference("reference");
    std::ofstream(path("flat")).flush();
    ASSERT_TRUE(shell("mkdir scratch"));
    ASSERT_EQ(vmdkfuse("--pid-file=pid base.vmdk flat --force=children").status, 0);
    ASSERT_TRUE(shell("dd if=reference of=flat bs=64k count=64 conv=notrunc status=none"));
    unmount();
    // What was written changed the content id that the child names.
    ASSERT_TRUE(shell("rm disk.vmdk"));
    create("disk.vmdk", 0, child);
    before_ = state();
  }

  // Everything about the images that an overlay must not change.
  std::string state() const {
    return shell_output("sha256sum base.vmdk disk.vmdk; stat -c '%n %s %y %z' base.vmdk disk.vmdk");
  }

  void mount_over(const std::string& overlay) {
    const CommandResult result =
        in_folder("TMPDIR=$PWD/scratch " + vmdk::test::shell_word(VMDKFUSE_PROGRAM) +
                  " --pid-file=pid --overlay=" + overlay + " disk.vmdk flat");
    ASSERT_EQ(result.status, 0) << result.to_text();
  }

  // Writes over what the parent has, over what nobody has, and syncs.
  void write_and_sync() {
    ASSERT_TRUE(
        shell("dd if=reference of=flat bs=1000 count=3000 seek=1500 conv=notrunc,fsync "
              "status=none"));
    ASSERT_TRUE(
        shell("cp reference expected; truncate -s 4M expected; truncate -s 8M expected; "
              "dd if=reference of=expected bs=1000 count=3000 seek=1500 conv=notrunc "
              "status=none"));
    ASSERT_TRUE(shell("cmp flat expected"));
  }

  std::string before_;
};

TEST_F(OverlayMountTest, WritesGoToTheChildAndAreThereNextTime) {
  mount_over("over.vmdk");
  write_and_sync();
  unmount();
  EXPECT_EQ(state(), before_);
  mount_over("over.vmdk");
  EXPECT_TRUE(shell("cmp flat expected"));
  unmount();
  EXPECT_EQ(state(), before_);
}

TEST_F(OverlayMountTest, AKilledDaemonLeavesAChildThatGoesOn) {
  mount_over("over.vmdk");
  write_and_sync();
  ASSERT_EQ(kill(daemon(), SIGKILL), 0);
  ASSERT_TRUE(daemon_ends());
  ASSERT_TRUE(shell("fusermount3 -u flat; rm -f pid"));
  EXPECT_EQ(state(), before_);
  mount_over("over.vmdk");
  EXPECT_TRUE(shell("cmp flat expected"));
  unmount();
  EXPECT_EQ(state(), before_);
}

TEST_F(OverlayMountTest, ThrownAwayAtTheEnd) {
  mount_over("tmp");
  write_and_sync();
  EXPECT_EQ(shell_output("ls -A scratch"), "") << "no name that a stranger could take or open";
  unmount();
  EXPECT_EQ(shell_output("ls -A scratch"), "");
  EXPECT_EQ(state(), before_);
  mount("-r");
  EXPECT_FALSE(shell_status("cmp -s flat expected") == 0);
  unmount();
}

TEST_F(OverlayMountTest, ThrownAwayWhenTheDaemonIsKilled) {
  mount_over("tmp");
  write_and_sync();
  ASSERT_EQ(kill(daemon(), SIGKILL), 0);
  ASSERT_TRUE(daemon_ends());
  ASSERT_TRUE(shell("fusermount3 -u flat; rm -f pid"));
  EXPECT_EQ(shell_output("ls -A scratch"), "");
  EXPECT_EQ(state(), before_);
}

TEST_F(OverlayMountTest, AMountThatFailsLeavesNothing) {
  const CommandResult result =
      vmdkfuse("--pid-file=no/such/folder --overlay=over.vmdk disk.vmdk flat");
  EXPECT_EQ(result.status, 32) << result.to_text();
  EXPECT_FALSE(std::filesystem::exists(path("over.vmdk")));
  EXPECT_EQ(state(), before_);
}

TEST_F(OverlayMountTest, AnImageOfWhichThereAreChildren) {
  ASSERT_NE(vmdkfuse("base.vmdk flat").status, 0);
  const CommandResult result = vmdkfuse("--pid-file=pid --overlay=over.vmdk base.vmdk flat");
  ASSERT_EQ(result.status, 0) << result.to_text();
  write_and_sync();
  unmount();
  EXPECT_EQ(state(), before_);
}

TEST_F(OverlayMountTest, WhatIsThereIsNamed) {
  std::ofstream(path("precious")) << "precious";
  const CommandResult result = vmdkfuse("--overlay=precious disk.vmdk flat");
  EXPECT_EQ(result.status, 32);
  EXPECT_NE(result.err.find("precious: exists and is no overlay of disk.vmdk"), std::string::npos)
      << result.err;
  EXPECT_EQ(shell_output("cat precious"), "precious");
  EXPECT_EQ(vmdkfuse("-r --overlay=x disk.vmdk flat").status, 1);
  EXPECT_EQ(vmdkfuse("--overlay= disk.vmdk flat").status, 1);
}

TEST_F(OverlayMountTest, OverAStreamAndReadByQemu) {
  NEEDS_PROGRAM("qemu-img");
  ASSERT_TRUE(
      shell("qemu-img convert -f raw -O vmdk -o subformat=streamOptimized reference s.vmdk"));
  const std::string stream = shell_output("sha256sum s.vmdk; stat -c %y s.vmdk");
  const CommandResult plain = vmdkfuse("s.vmdk flat");
  EXPECT_EQ(plain.status, 32);
  EXPECT_NE(plain.err.find("--overlay=FILE"), std::string::npos) << plain.err;
  ASSERT_EQ(vmdkfuse("--pid-file=pid --overlay=over.vmdk s.vmdk flat").status, 0);
  ASSERT_TRUE(shell("cmp flat reference"));
  ASSERT_TRUE(
      shell("dd if=/dev/zero of=flat bs=1000 count=200 seek=77 conv=notrunc status=none;"
            "dd if=/dev/zero of=reference bs=1000 count=200 seek=77 conv=notrunc status=none"));
  ASSERT_TRUE(shell("cmp flat reference"));
  unmount();
  EXPECT_EQ(shell_output("sha256sum s.vmdk; stat -c %y s.vmdk"), stream);
  EXPECT_TRUE(shell("qemu-img compare -f vmdk -F raw over.vmdk reference"));
  EXPECT_TRUE(shell("qemu-img check over.vmdk"));
}

TEST_F(OverlayMountTest, OutOfAnArchive) {
  NEEDS_PROGRAM("tar");
  NEEDS_PROGRAM("qemu-img");
  ASSERT_TRUE(
      shell("qemu-img convert -f raw -O vmdk -o subformat=streamOptimized reference s.vmdk"
            " && cp s.vmdk t.vmdk && echo ovf > a.ovf"
            " && tar --format=ustar -cf app.ova a.ovf s.vmdk"
            " && tar -cf two.ova s.vmdk t.vmdk"));
  const CommandResult result = vmdkfuse("--pid-file=pid app.ova flat");
  ASSERT_EQ(result.status, 0) << result.to_text();
  EXPECT_NE(result.err.find("app.ova: write-protected, mounted read-only"), std::string::npos);
  EXPECT_TRUE(shell("cmp flat reference"));
  EXPECT_NE(shell_status("dd if=/dev/zero of=flat count=1 conv=notrunc"), 0);
  unmount();
  const CommandResult several = vmdkfuse("-r two.ova flat");
  EXPECT_EQ(several.status, 32);
  EXPECT_NE(several.err.find("two.ova:t.vmdk"), std::string::npos) << several.err;
  ASSERT_EQ(vmdkfuse("--pid-file=pid -r two.ova:t.vmdk flat").status, 0);
  EXPECT_TRUE(shell("cmp flat reference"));
  unmount();
  const std::string archive = shell_output("sha256sum app.ova; stat -c '%y %z' app.ova");
  ASSERT_EQ(vmdkfuse("--pid-file=pid --overlay=over.vmdk app.ova flat").status, 0);
  ASSERT_TRUE(
      shell("dd if=/dev/zero of=flat bs=1000 count=200 seek=77 conv=notrunc,fsync "
            "status=none; dd if=/dev/zero of=reference bs=1000 count=200 seek=77 "
            "conv=notrunc status=none"));
  unmount();
  EXPECT_EQ(shell_output("sha256sum app.ova; stat -c '%y %z' app.ova"), archive);
  ASSERT_EQ(vmdkfuse("--pid-file=pid -r over.vmdk flat").status, 0) << "by the hint in it";
  EXPECT_TRUE(shell("cmp flat reference"));
  unmount();
}

TEST_F(OverlayMountTest, AnOlderLayer) {
  mount_over("over.vmdk");
  write_and_sync();
  unmount();
  for (const char* layer : {"0", "base.vmdk"}) {
    const CommandResult result =
        vmdkfuse(std::string("--pid-file=pid over.vmdk flat --layer=") + layer);
    ASSERT_EQ(result.status, 0) << result.to_text();
    EXPECT_TRUE(shell("cmp -n 4194304 flat reference"));
    EXPECT_NE(shell_status("dd if=/dev/zero of=flat count=1 conv=notrunc"), 0);
    unmount();
  }
  EXPECT_EQ(vmdkfuse("--layer=9 over.vmdk flat").status, 32);
}

}  // namespace
}  // namespace vmdkfuse::test
