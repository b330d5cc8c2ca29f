// The daemon under limits: few descriptors, little memory; and what it asks of the kernel for that.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>

#include <gmock/gmock.h>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

// An image of many files, for a daemon that may have few open.
class DescriptorTest : public MountTest, public ::testing::WithParamInterface<int> {
 protected:
  static constexpr int kExtent = 64 * vmdk::kKiB;

  void make_split(int extents) {
    std::ofstream descriptor(path("disk.vmdk"));
    descriptor << "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n"
                  "createType=\"twoGbMaxExtentFlat\"\n";
    for (int i = 0; i < extents; ++i) {
      const std::string name = "part" + std::to_string(i);
      std::ofstream(path(name)).flush();
      std::filesystem::resize_file(path(name), kExtent);
      descriptor << "RW " << kExtent / 512 << " FLAT \"" << name << "\" 0\n";
    }
  }

  // Whether an image of so many extents is mounted under the limit. It then works to the end; else
  // it is refused before anything is mounted.
  bool works(int extents) {
    SCOPED_TRACE(std::to_string(extents) + " extents");
    make_split(extents);
    const CommandResult result =
        in_folder("touch flat; ulimit -n " + std::to_string(GetParam()) + "; " +
                  shell_word(VMDKFUSE_PROGRAM) + " --pid-file=pid --log-file=log disk.vmdk flat");
    if (result.status != 0) {
      EXPECT_EQ(result.status, 32) << result.to_text();
      EXPECT_THAT(result.err, HasSubstr("Too many open files\n"));
      EXPECT_THAT(result.err,
                  HasSubstr("    hint: raise the limit of open files (ulimit -n), which "
                            "is " +
                            std::to_string(GetParam())));
      EXPECT_FALSE(is_mounted());
      return false;
    }
    make_reference("ref", static_cast<std::uint64_t>(extents) * kExtent);
    EXPECT_TRUE(shell("cp ref flat && sync flat && cmp ref flat"));
    unmount();
    EXPECT_TRUE(shell("for i in $(seq 0 " + std::to_string(extents - 1) +
                      "); do cat part$i; done | cmp - ref"));
    return true;
  }
};

TEST_P(DescriptorTest, AreEnoughOrTheMountIsRefused) {
  const int limit = GetParam();
  // The daemon needs some for itself.
  EXPECT_TRUE(works(limit - 40));
  // Somewhere here they are no longer enough.
  for (int extents = limit - 34; extents <= limit; extents += 3)
    works(extents);
  EXPECT_FALSE(works(limit));
  EXPECT_FALSE(works(2 * limit));
}

INSTANTIATE_TEST_SUITE_P(Limits, DescriptorTest, ::testing::Values(64, 256),
                         [](const auto& limit) { return std::to_string(limit.param); });

// Whether a process may ask for it here.
bool may_be_io_flusher() {
  const pid_t child = fork();
  if (child == 0)
    _exit(prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0 ? 0 : 1);
  int status = 0;
  return waitpid(child, &status, 0) == child && status == 0;
}

// Else the kernel could wait for a page of ours to be written so that we get the memory for it.
TEST_F(MountTest, NoThreadOfTheDaemonIsMadeToWriteItsOwnPages) {
  if (!may_be_io_flusher())
    GTEST_SKIP() << "no permission for PR_SET_IO_FLUSHER";
  create();
  mount();
  ASSERT_TRUE(shell("head -c 8M /dev/zero > flat && sync flat && cat flat > /dev/null"));
  constexpr unsigned long kNoIoForMemory = 0x00080000;  // PF_MEMALLOC_NOIO of the kernel
  int threads = 0;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(daemon()) + "/task")) {
    std::ifstream file(task.path() / "stat");
    std::string line;
    std::getline(file, line);
    // "PID (name) STATE PPID PGRP SESSION TTY TPGID FLAGS …"
    std::istringstream words(line.substr(line.rfind(") ") + 2));
    std::string word;
    for (int i = 0; i < 7; ++i)
      words >> word;
    EXPECT_NE(std::stoul(word) & kNoIoForMemory, 0U) << line;
    ++threads;
  }
  EXPECT_GT(threads, 2);
  unmount();
}

// A clock that is set moves no commit: none of the waits with an end counts by the time of day.
TEST_F(MountTest, NoWaitOfTheDaemonDependsOnTheTimeOfDay) {
  NEEDS_PROGRAM("strace");
  create();
  mount("--commit=1");
  // The timer starts with the first write.
  ASSERT_TRUE(shell("echo written | dd of=flat conv=notrunc,fsync"));
  vmdk::test::ChildProgram tracer({"strace", "-f", "-e", "trace=futex", "-o",
                                   path("trace").string(), "-p", std::to_string(daemon())});
  const auto waits = [this] { return shell_output("grep -c 'FUTEX_WAIT.*tv_sec=' trace"); };
  EXPECT_TRUE(eventually([&] { return std::stoi("0" + waits()) >= 2; })) << "the commit timer";
  EXPECT_EQ(shell_output("grep 'tv_sec=' trace | grep -c FUTEX_CLOCK_REALTIME"), "0");
  kill(tracer.pid(), SIGINT);
  EXPECT_TRUE(tracer.ends_within(seconds(10)));
  unmount();
}

// A control group for memory, of which the processes in it get so many bytes.
class MemoryGroup {
 public:
  explicit MemoryGroup(std::uint64_t bytes) {
    const std::string name = "vmdkfuse-test-" + std::to_string(getpid());
    const bool first_version = std::filesystem::is_directory("/sys/fs/cgroup/memory");
    const std::filesystem::path root = first_version ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
    if (!first_version)
      write(root / "cgroup.subtree_control", "+memory");
    if (mkdir((root / name).c_str(), 0755) != 0) {
      why_not_ = (root / name).string() + ": " + std::strerror(errno);
      return;
    }
    path_ = root / name;
    write(path_ / (first_version ? "memory.limit_in_bytes" : "memory.max"), std::to_string(bytes));
  }

  ~MemoryGroup() {
    if (!path_.empty())
      eventually([this] { return rmdir(path_.c_str()) == 0; });
  }

  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;

  // Empty: it is there.
  const std::string& why_not() const { return why_not_; }

  // For the shell: takes it in, and what it starts from then on.
  std::string join() const { return "echo $$ > " + (path_ / "cgroup.procs").string() + "; "; }

 private:
  void write(const std::filesystem::path& file, const std::string& text) {
    std::ofstream out(file);
    out << text << std::flush;
    if (!out)
      why_not_ = file.string() + ": " + std::strerror(errno);
  }

  std::filesystem::path path_;
  std::string why_not_;
};

// The daemon, and those who write to a file system on its disk, share 64 MiB. Pages that are to be
// written are most of it: were the daemon to wait for one of them, nothing would go on. Where it
// may not forbid the kernel to make it wait, it does wait now and then: there only the writers
// share.
TEST_F(MountTest, LittleMemoryIsNoDeadlock) {
  NEEDS_PROGRAM("mkfs.ext4");
  const MemoryGroup group(64 * vmdk::kMiB);
  if (!group.why_not().empty())
    GTEST_SKIP() << "no control group for memory: " << group.why_not();
  create("disk.vmdk", 512 * vmdk::kMiB);
  const bool daemon_too = may_be_io_flusher();
  std::cout << "in the group: " << (daemon_too ? "the daemon and the writers" : "the writers")
            << "\n";
  start("disk.vmdk flat", daemon_too ? group.join() : "");
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_TRUE(shell("mkfs.ext4 -q -F flat && mkdir fs"));
  const auto device = attach_loop("flat");
  if (!device)
    GTEST_SKIP() << "no loop device to be had";
  ASSERT_TRUE(shell("mount " + *device + " fs"));
  const auto deadline = steady_clock::now() + (soak() ? seconds(600) : seconds(20));
  int rounds = 0;
  do {
    // More than the group has, by two writers; each round has to end.
    const CommandResult result = run_command(
        "cd " + word("") + " && " + group.join() +
            "for i in 1 2; do (head -c 48M /dev/urandom | tee fs/file$i | sha256sum > sum$i) & "
            "done; wait; sync -f fs; for i in 1 2; do sha256sum < fs/file$i | cmp - sum$i || exit; "
            "done",
        std::chrono::minutes(2));
    ASSERT_EQ(result.status, 0) << "round " << rounds << ": " << result.to_text();
    ++rounds;
  } while (steady_clock::now() < deadline);
  EXPECT_GT(rounds, 0);
  RecordProperty("rounds", rounds);
  ASSERT_TRUE(shell("umount fs && losetup -d " + *device));
  EXPECT_TRUE(eventually([&] { return vmdkfuse("-u flat").status == 0; }));
  expect_exit(0);
  expect_check("disk.vmdk");
}

}  // namespace
}  // namespace vmdkfuse::test
