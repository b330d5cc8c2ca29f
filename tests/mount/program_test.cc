// The program as a user meets it: refusals with their messages and codes, mount(8).
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <vmdk/check.h>

#include "io/posix_file_system.h"
#include "mount/mount_test.h"
#include "support/matchers.h"

namespace vmdkfuse::test {
namespace {

class ProgramTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped())
      return;
    create();
    std::ofstream(path("flat")).flush();
  }

  void expect_refused(const std::string& arguments, int status, const std::string& message) const {
    const CommandResult result = vmdkfuse(arguments);
    EXPECT_EQ(result.status, status) << arguments << "\n" << result.to_text();
    EXPECT_EQ(result.err.substr(0, 10), "vmdkfuse: ") << result.to_text();
    EXPECT_NE(result.err.find(message), std::string::npos) << result.to_text();
    EXPECT_EQ(result.out, "");
    EXPECT_FALSE(is_mounted());
  }
};

TEST_F(ProgramTest, SilentOnSuccess) {
  const CommandResult result = vmdkfuse("--pid-file=pid disk.vmdk flat");
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, "");
  unmount();
}

TEST_F(ProgramTest, VerboseSaysWhatWasOpened) {
  const CommandResult result = vmdkfuse("-v --pid-file=pid -r disk.vmdk flat");
  EXPECT_NE(result.err.find("disk.vmdk: 8 MiB, 1 layer (monolithicSparse), read-only"),
            std::string::npos)
      << result.err;
  unmount();
}

TEST_F(ProgramTest, RefusalsSayWhatAndWhy) {
  std::ofstream(path("garbage.vmdk")) << std::string(65536, 'g');
  std::ofstream(path("empty.vmdk")).flush();
  ASSERT_TRUE(shell("mkdir folder && mkfifo fifo"));
  expect_refused("missing.vmdk flat", 32, "missing.vmdk: No such file or directory");
  expect_refused("folder flat", 32, "folder");
  expect_refused("garbage.vmdk flat", 32, "garbage.vmdk");
  expect_refused("empty.vmdk flat", 32, "empty.vmdk");
  expect_refused("fifo flat", 32, "fifo");
  expect_refused("disk.vmdk missing", 32, "missing: No such file or directory");
  expect_refused("disk.vmdk missing", 32, "hint: ");
  expect_refused("disk.vmdk fifo", 32, "fifo: neither a directory nor a regular file");
  // Refused in the foreground as well, with the same words.
  expect_refused("-f missing.vmdk flat", 32, "missing.vmdk: No such file or directory");
}

TEST_F(ProgramTest, ADiskIsNotMountedOnAFileOfItsOwn) {
  ASSERT_TRUE(shell(shell_word(VMDKCTL_PROGRAM) + " snapshot disk.vmdk child.vmdk"));
  ASSERT_TRUE(shell("ln -s disk.vmdk link && cp disk.vmdk before"));
  for (const char* arguments :
       {"-r disk.vmdk disk.vmdk", "child.vmdk child.vmdk", "child.vmdk disk.vmdk",
        "child.vmdk link", "--overlay=new.vmdk disk.vmdk disk.vmdk"})
    expect_refused(arguments, 32, "the disk cannot be mounted on a file of its own image");
  EXPECT_FALSE(std::filesystem::exists(path("new.vmdk"))) << "of a mount that failed";
  ASSERT_TRUE(shell("cmp disk.vmdk before"));
  ASSERT_EQ(vmdkfuse("-r child.vmdk before").status, 0) << "any other file does";
  unmount("before");
}

TEST_F(ProgramTest, UsageErrorsAre1) {
  expect_refused("", 1, "IMAGE and MOUNTPOINT");
  expect_refused("disk.vmdk", 1, "IMAGE and MOUNTPOINT");
  expect_refused("'' flat", 1, "IMAGE is empty");
  expect_refused("disk.vmdk ''", 1, "MOUNTPOINT is empty");
  expect_refused("disk.vmdk flat ro", 1, "\"ro\" is one word too many");
  expect_refused("--commmit=3 disk.vmdk flat", 1,
                 "unknown option \"commmit\" (did you mean \"commit\"?)");
  expect_refused("-o ro,cashe=none disk.vmdk flat", 1,
                 "unknown mount option \"cashe\" (did you mean \"cache\"?)");
  expect_refused("--share disk.vmdk flat", 1, "--share goes with --ro");
  expect_refused("--ready-fd=77 disk.vmdk flat", 1, "77");
}

TEST_F(ProgramTest, SecondDaemonOnTheImageIsRefused) {
  mount();
  ASSERT_TRUE(shell("touch flat2"));
  const CommandResult second = vmdkfuse("disk.vmdk flat2");
  EXPECT_EQ(second.status, 32);
  EXPECT_NE(second.err.find("disk.vmdk"), std::string::npos) << second.err;
  EXPECT_NE(second.err.find("use"), std::string::npos) << second.err;
  EXPECT_EQ(vmdkfuse("-r disk.vmdk flat2").status, 32);
  const CommandResult beside = vmdkfuse("-r --share disk.vmdk flat2");
  EXPECT_EQ(beside.status, 0) << beside.to_text();
  EXPECT_NE(beside.err.find("may be torn"), std::string::npos) << beside.err;
  ASSERT_TRUE(shell("echo seen beside | dd of=flat conv=notrunc,fsync"));
  unmount("flat2");
  unmount();
  // Two readers do not mind each other.
  mount("-r");
  EXPECT_EQ(vmdkfuse("-r disk.vmdk flat2").status, 0);
  EXPECT_EQ(shell_output("head -c 11 flat2"), "seen beside");
  unmount("flat2");
  unmount();
}

TEST_F(ProgramTest, WriteProtectedImageIsMountedReadOnly) {
  if (shell_status("mkdir locked && mount -t tmpfs none locked && cp disk.vmdk locked/ && "
                   "mount -o remount,ro locked") != 0)
    GTEST_SKIP() << "no permission to mount a tmpfs";
  const CommandResult result = vmdkfuse("--pid-file=pid locked/disk.vmdk flat");
  EXPECT_EQ(result.status, 0) << result.to_text();
  EXPECT_NE(result.err.find("locked/disk.vmdk: write-protected, mounted read-only"),
            std::string::npos)
      << result.err;
  EXPECT_EQ(shell_output("findmnt -n -o OPTIONS --target flat").substr(0, 3), "ro,");
  unmount();
  // mount(8) passes "rw" to every program; who says -w means it, as there.
  EXPECT_EQ(vmdkfuse("--pid-file=pid -o rw locked/disk.vmdk flat").status, 0);
  unmount();
  expect_refused("-w locked/disk.vmdk flat", 32, "locked/disk.vmdk: Read-only file system");
  expect_refused("-w locked/disk.vmdk flat", 32, "hint: without -w it is mounted read-only");
}

TEST_F(ProgramTest, OutputThatCannotBeWrittenIsAFailure) {
  mount();
  for (const std::string verb : {"--list", "--list --json", "--help", "--help-all", "--version"}) {
    const CommandResult result = vmdkfuse(verb + " > /dev/full");
    EXPECT_EQ(result.status, 2) << verb << "\n" << result.to_text();
    EXPECT_EQ(result.err, "vmdkfuse: standard output: No space left on device\n") << verb;
  }
  unmount();
}

TEST_F(ProgramTest, MountProgramPassesItsOptions) {
  const std::string type = std::string("fuse.") + VMDKFUSE_PROGRAM;
  if (std::string(VMDKFUSE_PROGRAM).find('.') != std::string::npos)
    GTEST_SKIP() << "mount(8) takes no program with a dot in its path as a type";
  const auto mount8 = [&](const std::string& options) {
    return in_folder("mount -t " + shell_word(type) + " " + options);
  };
  CommandResult result = mount8("disk.vmdk flat");
  ASSERT_EQ(result.status, 0) << result.to_text();
  EXPECT_TRUE(shell("echo by mount | dd of=flat conv=notrunc,fsync"));
  unmount();
  result = mount8(
      "-o ro,nofail,x-systemd.automount,noexec,nodev,cache=writethrough,uid=7 "
      "disk.vmdk flat");
  ASSERT_EQ(result.status, 0) << result.to_text();
  const std::string options = shell_output("findmnt -n -o OPTIONS --target flat");
  EXPECT_EQ(options.substr(0, 3), "ro,");
  EXPECT_NE(options.find("noexec"), std::string::npos) << options;
  EXPECT_NE(options.find("nodev"), std::string::npos) << options;
  EXPECT_EQ(shell_output("stat -c %u flat; head -c 8 flat"), "7\nby mount");
  ASSERT_TRUE(shell("umount flat"));
  ASSERT_TRUE(eventually([&] { return mount8("disk.vmdk flat").status == 0; }));
  unmount();
  // The program's exit code and message come back.
  result = mount8("missing.vmdk flat");
  EXPECT_EQ(result.status, 32) << result.to_text();
  EXPECT_NE(result.err.find("missing.vmdk: No such file or directory"), std::string::npos);
  result = mount8("-o frobnicate disk.vmdk flat");
  EXPECT_EQ(result.status, 1) << result.to_text();
}

TEST_F(ProgramTest, FstabLineMounts) {
  if (std::string(VMDKFUSE_PROGRAM).find('.') != std::string::npos)
    GTEST_SKIP() << "mount(8) takes no program with a dot in its path as a type";
  std::ofstream(path("fstab")) << path("disk.vmdk").string() << " " << path("flat").string()
                               << " fuse." << VMDKFUSE_PROGRAM
                               << " rw,allow_other,nofail,commit=2 0 0\n";
  const CommandResult result = run_command("mount -T " + word("fstab") + " " + word("flat"));
  ASSERT_EQ(result.status, 0) << result.to_text();
  EXPECT_TRUE(shell("echo fstab | dd of=flat conv=notrunc"));
  unmount();
}

// What fstab cannot say otherwise; on a folder, too.
TEST_F(ProgramTest, CommasInOptionsOfFstab) {
  if (std::string(VMDKFUSE_PROGRAM).find('.') != std::string::npos)
    GTEST_SKIP() << "mount(8) takes no program with a dot in its path as a type";
  ASSERT_TRUE(shell("mkdir dir 'a,b' && " + shell_word(VMDKCTL_PROGRAM) +
                    " snapshot disk.vmdk child.vmdk && mv disk.vmdk 'a,b/c,d.vmdk'"));
  std::ofstream(path("fstab")) << path("child.vmdk").string() << " " << path("dir").string()
                               << " fuse." << VMDKFUSE_PROGRAM
                               << " noauto,parent=" << path("a\\,b/c\\,d.vmdk").string()
                               << ",ro,mode=444 0 0\n";
  const CommandResult result = run_command("mount -T " + word("fstab") + " " + word("dir"));
  ASSERT_EQ(result.status, 0) << result.to_text();
  EXPECT_EQ(shell_output("ls dir; ls dir/layers; stat -c %a dir/flat"),
            "flat\nlayers\n0-c,d\n1-child\n444");
  EXPECT_EQ(shell_output("findmnt -n -o FSTYPE,OPTIONS --target dir").substr(0, 17),
            "fuse.vmdkfuse ro,");
  unmount("dir");
}

TEST_F(ProgramTest, EveryMountFlagIsAccepted) {
  for (const std::string flag : {"dev",
                                 "nodev",
                                 "suid",
                                 "nosuid",
                                 "exec",
                                 "noexec",
                                 "atime",
                                 "noatime",
                                 "nodiratime",
                                 "relatime",
                                 "norelatime",
                                 "sync",
                                 "async",
                                 "dirsync",
                                 "strictatime",
                                 "nostrictatime",
                                 "allow_other",
                                 "allow_root",
                                 "auto_unmount",
                                 "default_permissions",
                                 "max_read=131072",
                                 "diratime",
                                 "silent",
                                 "symfollow",
                                 "nosymfollow"}) {
    const CommandResult result = vmdkfuse("--pid-file=pid -o " + flag + " disk.vmdk flat");
    EXPECT_EQ(result.status, 0) << flag << "\n" << result.to_text();
    if (result.status == 0)
      unmount();
  }
}

// Else the image gets one of the numbers 0 to 2, and the daemon's messages go into it.
TEST_F(ProgramTest, ClosedStandardStreamsDoNotReachTheImage) {
  for (int closed = 1; closed < 8; ++closed) {
    std::string redirections;
    for (int fd = 0; fd < 3; ++fd) {
      if ((closed & (1 << fd)) != 0)
        redirections += " " + std::to_string(fd) + ">&-";
    }
    SCOPED_TRACE(redirections);
    std::filesystem::remove(path("disk.vmdk"));
    create();
    // The mark of an unclean end makes the daemon say something.
    ASSERT_TRUE(shell("printf '\\001' | dd of=disk.vmdk bs=1 seek=72 conv=notrunc && touch flat"));
    ASSERT_TRUE(
        shell(shell_word(VMDKFUSE_PROGRAM) + " --pid-file=pid -v disk.vmdk flat" + redirections));
    EXPECT_TRUE(shell("printf written | dd of=flat bs=1 seek=65536 conv=notrunc"));
    EXPECT_TRUE(shell(shell_word(VMDKFUSE_PROGRAM) + " -u flat" + redirections));
    EXPECT_EQ(shell_output("head -c 4 disk.vmdk"), "KDMV");
    vmdk::PosixFileSystem files;
    const auto report = vmdk::check_image(files, path("disk.vmdk"), {});
    ASSERT_OK(report);
    EXPECT_EQ(report->exit_code(), 0);
  }
}

}  // namespace
}  // namespace vmdkfuse::test
