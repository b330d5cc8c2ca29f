// What the mount tells about itself, and vmdkctl's verbs for disks that are mounted.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <string>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

class InfoFilesTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped())
      create();
  }

  CommandResult vmdkctl(const std::string& words) const {
    return in_folder(shell_word(VMDKCTL_PROGRAM) + " " + words);
  }

  std::uint64_t figure(const std::string& word) const {
    std::istringstream lines(shell_output("cat dir/.vmdkfuse/stats"));
    std::string name;
    for (std::uint64_t number = 0; lines >> name >> number;) {
      if (name == word)
        return number;
    }
    ADD_FAILURE() << "no figure " << word;
    return 0;
  }

  // Begins `vmdkctl stats --watch` of a mount, which has said something when this returns.
  void watch(const std::string& mountpoint) const {
    ASSERT_TRUE(shell("(" + shell_word(VMDKCTL_PROGRAM) + " stats --watch " + mountpoint +
                      " > watched 2> told; echo $? > ended) > /dev/null 2>&1 & sleep 1.5"));
  }

  // Its exit status.
  std::string end_of_watch() const {
    EXPECT_TRUE(eventually([&] { return size_of(path("ended")) != 0; }));
    return shell_output("cat ended");
  }

  void expect_quiet_end() const {
    EXPECT_EQ(end_of_watch(), "0");
    EXPECT_EQ(shell_output("cat told"), "");
  }
};

TEST_F(InfoFilesTest, SayWhatIsMounted) {
  mount_on_folder();
  EXPECT_EQ(shell_output("ls dir/.vmdkfuse"), "info.json\nlog\nstats");
  const std::string info = shell_output("cat dir/.vmdkfuse/info.json");
  EXPECT_NE(info.find("\"mode\": \"rw\""), std::string::npos) << info;
  EXPECT_NE(info.find("\"virtualBytes\": 8388608"), std::string::npos) << info;
  EXPECT_NE(info.find("\"mountpoint\": \"" + path("dir").string() + "\""), std::string::npos);
  EXPECT_NE(info.find("\"name\": \"flat\""), std::string::npos) << info;
  EXPECT_NE(info.find("\"pid\": " + std::to_string(daemon())), std::string::npos) << info;
  // Whoever reads it is elsewhere.
  const std::string image = path("disk.vmdk").string();
  EXPECT_NE(info.find("\"image\": \"" + image + "\""), std::string::npos) << info;
  EXPECT_NE(info.find("\"file\": \"" + image + "\""), std::string::npos) << info;
  for (const std::string name : {"info.json", "stats", "log"}) {
    EXPECT_NE(shell_status("echo x > dir/.vmdkfuse/" + name), 0) << name;
    EXPECT_NE(shell_status("rm -f dir/.vmdkfuse/" + name), 0) << name;
  }
  EXPECT_NE(shell_status("touch dir/.vmdkfuse/new"), 0);
  unmount("dir");
}

TEST_F(InfoFilesTest, CountWhatWasDone) {
  mount_on_folder("--cache=none");
  EXPECT_EQ(figure("writes"), 0U);
  ASSERT_TRUE(shell("dd if=/dev/zero of=dir/flat bs=64k count=3 conv=notrunc,fsync status=none"));
  EXPECT_EQ(figure("writes"), 3U);
  EXPECT_EQ(figure("writtenBytes"), 3 * 65536U);
  EXPECT_GE(figure("syncs"), 1U);
  EXPECT_GE(figure("commits"), 1U);
  const std::uint64_t before = figure("readBytes");
  ASSERT_TRUE(shell("dd if=dir/flat of=/dev/null bs=64k count=2 status=none"));
  EXPECT_EQ(figure("readBytes"), before + 2 * 65536);
  EXPECT_EQ(figure("virtualBytes"), kDiskSize);
  EXPECT_EQ(figure("lostWrites"), 0U);
  unmount("dir");
}

TEST_F(InfoFilesTest, TheLogHasWhatTheDaemonSaid) {
  mount_on_folder("-v");
  EXPECT_NE(shell_output("cat dir/.vmdkfuse/log").find("disk.vmdk: 8 MiB, 1 layer"),
            std::string::npos)
      << shell_output("cat dir/.vmdkfuse/log");
  unmount("dir");
}

TEST_F(InfoFilesTest, SoManyAreOpenAtOnce) {
  mount_on_folder();
  std::vector<int> open_files;
  int failed = 0;
  for (int i = 0; i < 80; ++i) {
    const int fd = open(path("dir/.vmdkfuse/stats").c_str(), O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
      open_files.push_back(fd);
    else
      failed += errno == ENFILE ? 1 : 0;
  }
  EXPECT_EQ(open_files.size(), 64U);
  EXPECT_EQ(failed, 16);
  for (const int fd : open_files)
    close(fd);
  EXPECT_TRUE(eventually([&] { return shell_status("cat dir/.vmdkfuse/stats > /dev/null") == 0; }));
  unmount("dir");
}

TEST_F(InfoFilesTest, StatsVerbShowsTheFigures) {
  mount_on_folder("--cache=none");
  ASSERT_TRUE(shell("dd if=/dev/zero of=dir/flat bs=64k count=3 conv=notrunc status=none"));
  const CommandResult text = vmdkctl("stats dir");
  EXPECT_EQ(text.status, 0) << text.to_text();
  EXPECT_NE(text.out.find("\nwrites          3\n"), std::string::npos) << text.out;
  const CommandResult json = vmdkctl("stats --json dir");
  EXPECT_NE(json.out.find("\"writes\":3,\"writtenBytes\":196608"), std::string::npos) << json.out;
  EXPECT_NE(json.out.find("\"schema\":1"), std::string::npos);
  // It ends with the mount.
  watch("dir");
  unmount("dir");
  expect_quiet_end();
  EXPECT_GE(std::stoi(shell_output("grep -c '^writes ' watched")), 2);
}

// Where there is no second file, the disk itself is asked.
TEST_F(InfoFilesTest, StatsVerbShowsTheFiguresOfAMountOnAFile) {
  mount("--cache=none");
  ASSERT_TRUE(shell("dd if=/dev/zero of=flat bs=64k count=3 conv=notrunc status=none"));
  const CommandResult json = vmdkctl("stats --json flat");
  EXPECT_EQ(json.status, 0) << json.to_text();
  EXPECT_NE(json.out.find("\"writes\":3,\"writtenBytes\":196608"), std::string::npos) << json.out;
  EXPECT_NE(json.out.find("\"virtualBytes\":8388608"), std::string::npos) << json.out;
  // Other requests of the kind are what they are on any file.
  EXPECT_NE(shell_output("blockdev --getsize64 flat 2>&1").find("Inappropriate ioctl"),
            std::string::npos);
  watch("flat");
  unmount();
  expect_quiet_end();
}

// Else a script would take the death of the daemon for an unmount.
TEST_F(InfoFilesTest, StatsVerbFailsWhenTheDaemonDies) {
  mount();
  watch("flat");
  ASSERT_EQ(kill(daemon(), SIGKILL), 0);
  EXPECT_EQ(end_of_watch(), "2");
  EXPECT_NE(shell_output("cat told"), "");
  shell("umount -l flat");
}

TEST_F(InfoFilesTest, SayWhatEachPartitionIs) {
  NEEDS_PROGRAM("sfdisk");
  mount_on_folder();
  ASSERT_TRUE(shell(
      "printf 'label: dos\\nsize=1M, type=83\\nsize=1M, type=c\\n' | PATH=$PATH:/sbin:/usr/sbin "
      "sfdisk -q dir/flat && ls dir"));
  EXPECT_EQ(shell_output("grep -c '\"type\"' dir/.vmdkfuse/info.json"), "2");
  EXPECT_EQ(shell_output("grep '\"type\"' dir/.vmdkfuse/info.json | tr -d ' '"),
            "\"type\":\"0x83\"\n\"type\":\"0x0c\"");
  unmount("dir");
}

TEST_F(InfoFilesTest, VerbsForMountsRefuseWhatIsNone) {
  for (const std::string verb : {"stats", "flush"}) {
    const CommandResult none = vmdkctl(verb + " /proc");
    EXPECT_EQ(none.status, 2) << verb;
    EXPECT_NE(none.err.find("/proc: no disk is mounted there"), std::string::npos) << none.err;
    EXPECT_EQ(vmdkctl(verb + " nothing").status, 2);
  }
  EXPECT_EQ(vmdkctl("stats --watch=0 dir").status, 1);
  EXPECT_EQ(vmdkctl("stats --watch= dir").status, 1);
  mount();
  EXPECT_EQ(vmdkctl("flush flat").status, 0);
  unmount();
}

// Also pages of other files than `flat`, and of a writer who goes on.
TEST_F(InfoFilesTest, FlushBringsAllIntoTheImage) {
  NEEDS_PROGRAM("sfdisk");
  mount_on_folder("--commit=0");
  ASSERT_TRUE(
      shell("printf 'label: dos\\nsize=1M\\nsize=1M\\n' | PATH=$PATH:/sbin:/usr/sbin "
            "sfdisk -q dir/flat"));
  const int writer = open(path("dir/flat2").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(writer, 0);
  ASSERT_EQ(pwrite(writer, "flushed", 7, 0), 7);
  const CommandResult flushed = vmdkctl("flush dir");
  EXPECT_EQ(flushed.status, 0) << flushed.to_text();
  // What a crash would leave.
  ASSERT_TRUE(shell("cp disk.vmdk copy.vmdk"));
  EXPECT_EQ(shell_output(shell_word(VMDKCTL_PROGRAM) + " cat --partition=2 copy.vmdk | head -c 7"),
            "flushed");
  close(writer);
  unmount("dir");
}

}  // namespace
}  // namespace vmdkfuse::test
