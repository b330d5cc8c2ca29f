// What the daemon cannot do any more once it serves, and the process that it leaves behind for what
// still has to be done.
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "mount/mount_test.h"
#include "mount/ordinary_user.h"
#include "mount/process_status.h"
#include "support/failing_calls.h"

namespace vmdkfuse::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using vmdk::test::with_failing_calls;

using Values = std::set<std::string>;

constexpr unsigned long kDacOverride = 1UL << 1U;
constexpr unsigned long kFowner = 1UL << 3U;
constexpr unsigned long kSysAdmin = 1UL << 21U;
constexpr unsigned long kSysResource = 1UL << 24U;

// Of with_open_fuse_device().
constexpr int kNoDevice = 95;

unsigned long capabilities(pid_t pid, const char* set) {
  const Values all = in_all_threads(pid, set);
  EXPECT_EQ(all.size(), 1U) << set << ": not the same in all threads";
  return all.empty() ? 0 : std::stoul(*all.begin(), nullptr, 16);
}

class SandboxMountTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped())
      create();
  }

  // Works enough for all kinds of threads to exist.
  void use() const {
    EXPECT_TRUE(
        shell("dd if=/dev/urandom of=flat bs=1M count=4 conv=notrunc,fsync 2>/dev/null && "
              "for i in 1 2 3 4 5 6; do dd if=flat of=/dev/null bs=64k iflag=direct 2>/dev/null & "
              "done; wait"));
  }

  // For what looks elsewhere, or means nothing, for other users.
  static bool is_root() { return geteuid() == 0; }

  // The process that mounts and unmounts.
  pid_t mounter() const {
    const auto children = children_of(daemon());
    EXPECT_EQ(children.size(), 1U);
    return children.empty() ? 0 : children.front();
  }
};

TEST_F(SandboxMountTest, EveryThreadHasGivenUpItsRights) {
  mount();
  use();
  EXPECT_GT(thread_count(daemon()), 3U);
  EXPECT_EQ(in_all_threads(daemon(), "NoNewPrivs"), Values{"1"});
  const unsigned long ours = capabilities(getpid(), "CapEff");
  const unsigned long kept = ours & (kDacOverride | kFowner | kSysResource);
  EXPECT_EQ(capabilities(daemon(), "CapEff"), kept);
  EXPECT_EQ(capabilities(daemon(), "CapPrm"), kept);
  EXPECT_EQ(capabilities(daemon(), "CapInh"), 0U);
  // A filter of system calls would cost something at each of them.
  EXPECT_EQ(in_all_threads(daemon(), "Seccomp"), in_all_threads(getpid(), "Seccomp"));
  unmount();
}

TEST_F(SandboxMountTest, OffChangesNothing) {
  mount("--sandbox=off");
  use();
  EXPECT_EQ(in_all_threads(daemon(), "NoNewPrivs"), Values{"0"});
  EXPECT_EQ(capabilities(daemon(), "CapEff"), capabilities(getpid(), "CapEff"));
  unmount();
}

TEST_F(SandboxMountTest, TheMounterKeepsOnlyWhatItNeeds) {
  if (!is_root())
    GTEST_SKIP() << "only root has rights to give up";
  mount();
  const pid_t pid = mounter();
  EXPECT_EQ(in_all_threads(pid, "NoNewPrivs"), Values{"1"});
  EXPECT_EQ(capabilities(pid, "CapEff"),
            capabilities(getpid(), "CapEff") & (kDacOverride | kSysAdmin));
  // The standard streams and the socket to the daemon: no image, no /dev/fuse.
  const Values open = descriptors_of(pid);
  EXPECT_EQ(open.size(), 2U) << testing::PrintToString(open);
  EXPECT_THAT(open, Contains("/dev/null"));
  EXPECT_THAT(open, Contains(testing::StartsWith("socket:")));
  unmount();
  EXPECT_TRUE(eventually([&] { return kill(pid, 0) != 0; }));
}

TEST_F(SandboxMountTest, ListSaysWhatIsInForce) {
  mount();
  const std::string on = shell_output(shell_word(VMDKFUSE_PROGRAM) + " --list --json");
  EXPECT_TRUE(shell("mv pid pid1; touch flat2; cp disk.vmdk other.vmdk"));
  EXPECT_EQ(vmdkfuse("--sandbox=off --pid-file=pid other.vmdk flat2").status, 0);
  const std::string both = shell_output(shell_word(VMDKFUSE_PROGRAM) + " --list --json");
  EXPECT_THAT(both, HasSubstr("\"landlockAbi\": 0"));
  // Which is what this very program can find out about the kernel.
  const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, 1U);
  if (abi > 0) {
    EXPECT_THAT(on, HasSubstr("\"landlockAbi\": " + std::to_string(std::min(abi, 10L)) + ","));
    EXPECT_THAT(on, Not(HasSubstr("\"landlockAbi\": 0")));
  }
  unmount("flat2");
  unmount();
}

TEST_F(SandboxMountTest, WithoutLandlockAutoGoesOnAndOnRefuses) {
  for (const int err : {ENOSYS, EOPNOTSUPP}) {
    const bool filtered = with_failing_calls({{SYS_landlock_create_ruleset, err}}, [&] {
      EXPECT_TRUE(shell("touch flat"));
      const CommandResult refused = vmdkfuse("--sandbox=on disk.vmdk flat");
      EXPECT_EQ(refused.status, 32) << refused.to_text();
      EXPECT_THAT(refused.err, HasSubstr("--sandbox=on: Landlock: "));
      EXPECT_THAT(refused.err, HasSubstr("hint: --sandbox=auto goes on without"));
      EXPECT_FALSE(is_mounted());
      const CommandResult quiet = vmdkfuse("-v --pid-file=pid disk.vmdk flat");
      EXPECT_EQ(quiet.status, 0) << quiet.to_text();
      EXPECT_THAT(quiet.err, Not(HasSubstr("sandbox")));
      EXPECT_TRUE(shell("echo written | dd of=flat conv=notrunc,fsync"));
      unmount();
      const CommandResult told = vmdkfuse("--log-level=debug --pid-file=pid disk.vmdk flat");
      EXPECT_THAT(told.err, HasSubstr("sandbox: none: Landlock: "));
      // What needs no Landlock is given up all the same.
      EXPECT_EQ(capabilities(daemon(), "CapEff") & kSysAdmin, 0U);
      unmount();
    });
    if (!filtered)
      GTEST_SKIP() << "this system does not let a process filter its own system calls";
  }
}

TEST_F(SandboxMountTest, OnSaysTheVersion) {
  if (const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, 1U); abi < 0)
    GTEST_SKIP() << "this kernel has no Landlock";
  ASSERT_TRUE(shell("touch flat"));
  const CommandResult result = vmdkfuse("-v --sandbox=on --pid-file=pid disk.vmdk flat");
  EXPECT_EQ(result.status, 0) << result.to_text();
  EXPECT_THAT(result.err, HasSubstr("sandbox: Landlock ABI "));
  unmount();
}

// Descriptors of whoever started the daemon are rights as well.
TEST_F(SandboxMountTest, InheritedDescriptorsAreClosed) {
  ASSERT_TRUE(shell("touch flat; echo secret > secret"));
  const std::string start = "exec 7<secret; " + shell_word(VMDKFUSE_PROGRAM) + " --pid-file=pid ";
  ASSERT_TRUE(shell(start + "disk.vmdk flat"));
  EXPECT_THAT(descriptors_of(daemon()), Not(Contains(path("secret").string())));
  EXPECT_THAT(descriptors_of(mounter()), Not(Contains(path("secret").string())));
  unmount();
  ASSERT_TRUE(shell(start + "--sandbox=off disk.vmdk flat"));
  EXPECT_THAT(descriptors_of(daemon()), Contains(path("secret").string()));
  EXPECT_THAT(descriptors_of(mounter()), Not(Contains(path("secret").string())));
  unmount();
  // An image may come by such a descriptor: it is open before they are closed.
  ASSERT_TRUE(shell("exec 7<>disk.vmdk; " + shell_word(VMDKFUSE_PROGRAM) +
                    " --pid-file=pid /proc/self/fd/7 flat"));
  EXPECT_TRUE(shell("echo written | dd of=flat conv=notrunc,fsync"));
  unmount();
}

TEST_F(SandboxMountTest, WithoutItsMounterTheDaemonServesOn) {
  mount("--log-file=log");
  const pid_t pid = mounter();
  ASSERT_EQ(kill(pid, SIGKILL), 0);
  ASSERT_EQ(kill(daemon(), SIGTERM), 0);
  EXPECT_TRUE(eventually([&] {
    return shell_output("cat log").find("the process that mounts and unmounts has ended") !=
           std::string::npos;
  }));
  EXPECT_TRUE(shell("echo still there | dd of=flat conv=notrunc,fsync"));
  ASSERT_TRUE(shell("umount flat"));
  EXPECT_TRUE(daemon_ends());
}

// What fails last is the pid file, when the daemon can remove nothing any more.
TEST_F(SandboxMountTest, AnOverlayOfAMountThatFailedIsTakenAway) {
  const std::string arguments = "--overlay=changes.vmdk --pid-file=/dev/full disk.vmdk flat";
  ASSERT_TRUE(shell("touch flat"));
  EXPECT_EQ(vmdkfuse(arguments).status, 32);
  EXPECT_NE(access(path("changes.vmdk").c_str(), F_OK), 0);
  // One that was there before stays.
  mount("--overlay=changes.vmdk");
  unmount();
  EXPECT_EQ(vmdkfuse(arguments).status, 32);
  EXPECT_EQ(access(path("changes.vmdk").c_str(), F_OK), 0);
}

TEST_F(SandboxMountTest, NamesOfAKilledDaemonGo) {
  if (!is_root())
    GTEST_SKIP() << "root's daemon has its socket elsewhere";
  mount();
  const std::string socket = "/run/vmdkfuse/" + shell_output("stat -c %Hd:%Ld flat");
  const pid_t pid = daemon();
  ASSERT_EQ(access(socket.c_str(), F_OK), 0) << socket;
  ASSERT_EQ(kill(pid, SIGKILL), 0);
  EXPECT_TRUE(eventually([&] { return access(path("pid").c_str(), F_OK) != 0; }));
  EXPECT_TRUE(eventually([&] { return access(socket.c_str(), F_OK) != 0; }));
}

// The child of the daemon that is another program: fusermount3, replaced here by one that looks at
// what it has been given.
TEST_F(SandboxMountTest, NoDescriptorReachesAProgramThatIsStarted) {
  if (!is_root())
    GTEST_SKIP() << "only root can become another user";
  const std::string real = shell_output("readlink -f \"$(command -v fusermount3)\"");
  std::ofstream(path("spy")) << "#!/bin/sh\nls -l /proc/self/fd >> " << path("spied").string()
                             << "\n"
                             << "exec " << path("real").string() << " \"$@\"\n";
  ASSERT_TRUE(shell("cp -p " + shell_word(real) +
                    " real && chmod 755 . spy && touch flat spied && chmod 666 spied && "
                    "chown nobody . disk.vmdk flat"));
  const std::string life = "exec 8<disk.vmdk; " + program_for_everybody(path("")) +
                           " --pid-file=pid --log-file=log disk.vmdk flat && "
                           "kill -TERM $(cat pid) && for i in $(seq 500); do "
                           "test -e pid || exit 0; sleep 0.02; done; exit 1";
  const std::string life_with_spy =
      "mount --bind spy " + shell_word(real) + " && " + as_user("nobody", "nogroup", life);
  const CommandResult result = in_folder(with_open_fuse_device(life_with_spy));
  if (result.status == kNoDevice || result.err.find("unshare failed") != std::string::npos)
    GTEST_SKIP() << "no mount namespace with a device here: " << result.err;
  ASSERT_EQ(result.status, 0) << result.to_text();
  const std::string spied = shell_output("cat spied");
  // Mounting and unmounting.
  EXPECT_EQ(shell_output("grep -c total spied"), "2") << spied;
  // Its own streams, the socket that fusermount3 answers by, and what `ls` itself has open.
  EXPECT_EQ(shell_output(
                "grep -e '->' spied | grep -vE -- "
                "'-> (.*/dev/null|socket:|pipe:|/proc/[0-9]+/fd|/memfd:command-output|.*/spied)'"),
            "");
}

constexpr const char* kWrite =
    "dd if=/dev/urandom of=flat bs=1M count=2 conv=notrunc,fsync 2>/dev/null";

// The whole of a life under strace, by lines.
class TracedLifeTest : public SandboxMountTest {
 protected:
  // Starts the program by `strace OPTIONS`, has `write` write to the disk, then runs `end`, which
  // has to end it.
  void live(const std::string& options, const std::string& write, const std::string& end) {
    trace_.clear();
    CommandResult result = in_folder(with_open_fuse_device(
        "rm -f pid trace; touch flat; strace -f -qq " + options +
        " -e trace=%file,execveat,landlock_restrict_self -o trace " +
        program_for_everybody(path("")) +
        " --pid-file=pid disk.vmdk flat > out 2>&1 & s=$!\n"
        "for i in $(seq 1000); do test -s pid && break; sleep 0.02; done\n"
        "cat /proc/$(cat pid)/task/$(cat pid)/children > mounter\n" +
        write + " || exit 90\n" + end + " || exit 91\nwait $s || exit 92\ncat out"));
    if (result.status == kNoDevice || result.err.find("unshare failed") != std::string::npos)
      GTEST_SKIP() << "no mount namespace with a device here: " << result.err;
    ASSERT_EQ(result.status, 0) << result.to_text();
    std::ifstream file(path("trace"));
    for (std::string line; std::getline(file, line);)
      trace_.push_back(line);
    ASSERT_FALSE(trace_.empty());
  }

  // The programs that were started, in their order. Not the fake mounts and unmounts by which some
  // builds of libfuse (Debian 13's 3.17) keep util-linux's list of mounts.
  std::vector<std::string> programs() const {
    std::vector<std::string> names;
    for (const std::string& line : trace_) {
      const std::size_t at = line.find("execve");
      if (at == std::string::npos || line.find("= 0") == std::string::npos ||
          keeps_list_of_mounts(line))
        continue;
      const std::size_t begin = line.find('"', at) + 1;
      const std::string program = line.substr(begin, line.find('"', begin) - begin);
      names.push_back(program.substr(program.rfind('/') + 1));
    }
    return names;
  }

  static bool keeps_list_of_mounts(const std::string& line) {
    return line.find("mount\", [") != std::string::npos &&
           (line.find("\"-f\"") != std::string::npos || line.find("--fake") != std::string::npos);
  }

  // What the daemon's threads did to files after they had given up their rights.
  std::vector<std::string> restricted() const {
    // The first line is the first process's, which waits for the daemon.
    Values others{word_of(trace_.front()), word_of(shell_output("cat mounter"))};
    std::vector<std::string> lines;
    bool entered = false;
    for (const std::string& line : trace_) {
      if (line.find("landlock_restrict_self") != std::string::npos)
        entered = true;
      else if (line.find("execve") != std::string::npos)
        others.insert(word_of(line));
      else if (entered && !others.contains(word_of(line)))
        lines.push_back(line);
    }
    return lines;
  }

  static std::string word_of(const std::string& line) { return line.substr(0, line.find(' ')); }

  std::vector<std::string> trace_;
};

TEST_F(TracedLifeTest, RootStartsNoProgramAndOpensNothing) {
  if (!is_root())
    GTEST_SKIP() << "only root has rights to give up";
  NEEDS_PROGRAM("strace");
  const std::string program = shell_word(VMDKFUSE_PROGRAM);
  for (const std::string& end : {std::string("kill -TERM $(cat pid)"), program + " -u flat"}) {
    SCOPED_TRACE(end);
    live("", kWrite, end);
    if (IsSkipped() || HasFatalFailure())
      return;
    EXPECT_THAT(programs(), ElementsAre("vmdkfuse"));
    if (syscall(SYS_landlock_create_ruleset, nullptr, 0, 1U) < 0)
      continue;
    const auto lines = restricted();
    EXPECT_FALSE(lines.empty()) << "the mount's own size and time are set by name";
    for (const std::string& line : lines) {
      EXPECT_TRUE(line.find("open") == std::string::npos ||
                  line.find("O_PATH") != std::string::npos)
          << line;
      // Nothing that the daemon needs is forbidden to it.
      EXPECT_THAT(line, Not(HasSubstr("EACCES")));
      EXPECT_THAT(line, Not(HasSubstr("EPERM")));
    }
  }
}

TEST_F(TracedLifeTest, AUsersDaemonStartsOnlyFusermount) {
  if (!is_root())
    GTEST_SKIP() << "only root can become another user";
  NEEDS_PROGRAM("strace");
  ASSERT_TRUE(
      shell("chmod 755 . && mkdir -m 700 run && touch flat && "
            "chown nobody . run disk.vmdk flat"));
  const std::string options = "-u nobody -E XDG_RUNTIME_DIR=\"$PWD/run\"";
  const std::string write = as_user("nobody", "nogroup", kWrite);
  live(options, write, "kill -TERM $(cat pid)");
  if (IsSkipped() || HasFatalFailure())
    return;
  EXPECT_THAT(programs(), ElementsAre("vmdkfuse", "fusermount3", "fusermount3"));
  live(options, write,
       "XDG_RUNTIME_DIR=\"$PWD/run\" " +
           as_user("nobody", "nogroup", program_for_everybody(path("")) + " -u flat"));
  if (HasFatalFailure())
    return;
  EXPECT_THAT(programs(), ElementsAre("vmdkfuse", "fusermount3"));
  if (syscall(SYS_landlock_create_ruleset, nullptr, 0, 1U) < 0)
    return;
  for (const std::string& line : restricted()) {
    EXPECT_THAT(line, Not(HasSubstr("EACCES")));
    EXPECT_THAT(line, Not(HasSubstr("EPERM")));
  }
}

TEST_F(SandboxMountTest, WithoutOpenat2NamesInsideImagesStayInTheirFolder) {
  ASSERT_TRUE(shell("touch flat && mkdir vm outside"));
  vmdk::CreateOptions flat;
  flat.type = vmdk::ImageType::kMonolithicFlat;
  create("vm/disk.vmdk", kDiskSize, flat);
  const bool filtered = with_failing_calls({{SYS_openat2, ENOSYS}}, [&] {
    EXPECT_EQ(vmdkfuse("--pid-file=pid vm/disk.vmdk flat").status, 0);
    EXPECT_TRUE(shell("echo written | dd of=flat conv=notrunc,fsync"));
    unmount();
    EXPECT_TRUE(shell("mv vm/disk-flat.vmdk outside && ln -s ../outside/disk-flat.vmdk vm"));
    const CommandResult refused = vmdkfuse("vm/disk.vmdk flat");
    EXPECT_EQ(refused.status, 32) << refused.to_text();
    EXPECT_THAT(refused.err, HasSubstr("outside"));
    EXPECT_EQ(vmdkfuse("--allow-dir=. --pid-file=pid vm/disk.vmdk flat").status, 0);
    EXPECT_EQ(shell_output("head -c 7 flat"), "written");
    unmount();
  });
  if (!filtered)
    GTEST_SKIP() << "this system does not let a process filter its own system calls";
}

// In a folder like /tmp.
class PlantedNamesTest : public SandboxMountTest {
 protected:
  void SetUp() override {
    SandboxMountTest::SetUp();
    if (IsSkipped())
      return;
    ASSERT_TRUE(shell("mkdir -m 1777 tmp; echo precious > victim; touch flat"));
  }

  void expect_refused(const std::string& options, const std::string& message) const {
    const CommandResult result = vmdkfuse(options + " disk.vmdk flat");
    EXPECT_EQ(result.status, 32) << result.to_text();
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_FALSE(is_mounted());
    EXPECT_EQ(shell_output("cat victim"), "precious");
  }
};

TEST_F(PlantedNamesTest, LogAndPidFilesAreNotWrittenThroughALink) {
  ASSERT_TRUE(shell("ln -s \"$PWD/victim\" tmp/log && ln -s \"$PWD/victim\" tmp/pid"));
  expect_refused("--log-file=tmp/log",
                 "tmp/log: not used: others can make files in its folder, "
                 "and it is a symbolic link");
  expect_refused("--pid-file=tmp/pid", "tmp/pid: not used");
}

TEST_F(PlantedNamesTest, AFifoForALogKeepsNobodyWaiting) {
  ASSERT_TRUE(shell("mkfifo tmp/log"));
  expect_refused("--log-file=tmp/log", "it is no regular file");
}

TEST_F(PlantedNamesTest, AnOverlayOfAStrangerIsNotShown) {
  if (!is_root())
    GTEST_SKIP() << "only root can make a stranger's file";
  ASSERT_EQ(vmdkfuse("--overlay=tmp/over.vmdk --pid-file=pid disk.vmdk flat").status, 0);
  ASSERT_TRUE(shell("echo ours | dd of=flat conv=notrunc,fsync"));
  unmount();
  ASSERT_TRUE(shell("chown nobody tmp/over.vmdk"));
  expect_refused("--overlay=tmp/over.vmdk", "it belongs to another user");
  EXPECT_TRUE(shell("test -e tmp/over.vmdk")) << "and is not ours to remove";
  // Ours goes on.
  ASSERT_TRUE(shell("chown root tmp/over.vmdk"));
  EXPECT_EQ(vmdkfuse("--overlay=tmp/over.vmdk --pid-file=pid disk.vmdk flat").status, 0);
  EXPECT_EQ(shell_output("head -c 4 flat"), "ours");
  unmount();
}

TEST_F(PlantedNamesTest, AnOverlayThroughALinkIsNotMade) {
  ASSERT_TRUE(shell("ln -s \"$PWD/new.vmdk\" tmp/over.vmdk"));
  const CommandResult result = vmdkfuse("--overlay=tmp/over.vmdk disk.vmdk flat");
  EXPECT_EQ(result.status, 32) << result.to_text();
  EXPECT_TRUE(shell("test ! -e new.vmdk"));
}

}  // namespace
}  // namespace vmdkfuse::test
