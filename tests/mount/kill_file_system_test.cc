// The daemon is killed under a file system that is being written to, again and again: its journal
// is played back on the disk that is left, and every file that was fsynced is whole.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "mount/mount_test.h"
#include "support/boundary_random.h"

namespace vmdkfuse::test {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using vmdk::UniqueFd;
using vmdk::test::BoundaryRandom;

constexpr std::size_t kLongestFile = 200 * vmdk::kKiB;
constexpr std::uint64_t kLongestLifeMicroseconds = 300'000;
constexpr int kMostFiles = 400;
// Whatever was interrupted; the disks are small.
constexpr seconds kLongestRemount(5);

struct HostedSystem {
  const char* name;
  const char* make;
  const char* check;
  std::uint64_t disk_size;
  int rounds;
};

// 25 rounds in all, 200 each in the long runs.
constexpr HostedSystem kSystems[] = {
    {"ext4", "mkfs.ext4 -q -F", "e2fsck -fn", 64 * vmdk::kMiB, 9},
    {"xfs", "mkfs.xfs -q -f", "xfs_repair -n -f", 320 * vmdk::kMiB, 8},
    {"btrfs", "mkfs.btrfs -q -f", "btrfs check --readonly", 256 * vmdk::kMiB, 8},
};

class KillFileSystemTest : public MountTest, public ::testing::WithParamInterface<HostedSystem> {
 protected:
  struct SyncedFile {
    std::string name;
    std::vector<std::byte> content;
  };

  // The disk, with a loop device and the file system on it.
  void put_in_place(const std::string& options) {
    const auto begin = steady_clock::now();
    start(options + " disk.vmdk flat");
    ASSERT_FALSE(HasFatalFailure());
    EXPECT_LT(steady_clock::now() - begin, kLongestRemount);
    const auto device = attach_loop("flat");
    if (!device)
      GTEST_SKIP() << "no loop device to be had";
    device_ = *device;
    ASSERT_TRUE(shell("mount " + device_ + " fs"));
  }

  void let_go() {
    shell_status("umount fs || umount -l fs");
    EXPECT_TRUE(shell("losetup -d " + std::exchange(device_, "")));
  }

  // `vmdkfuse -u`, as soon as the loop device has let go.
  void expect_verdict(int status) {
    CommandResult result;
    eventually([&] { return (result = vmdkfuse("-u flat")).status != 32; });
    EXPECT_EQ(result.status, status) << result.to_text();
  }

  static bool write_file(const std::string& name, const std::vector<std::byte>& content,
                         bool sync) {
    const UniqueFd file(open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    return file &&
           write(file.get(), content.data(), content.size()) ==
               static_cast<ssize_t>(content.size()) &&
           (!sync || fsync(file.get()) == 0);
  }

  // Until the daemon is gone. Every third file is fsynced, and its name with it.
  std::vector<SyncedFile> write_files(BoundaryRandom& random) const {
    std::vector<SyncedFile> synced;
    const UniqueFd folder(open(path("fs").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    for (int i = 0; i < kMostFiles; ++i) {
      SyncedFile file{"file" + std::to_string(i), random.fill(1 + random.below(kLongestFile))};
      const bool sync = i % 3 == 0;
      if (!write_file(path("fs/" + file.name), file.content, sync))
        break;
      if (i % 6 == 5)  // never one that was fsynced
        unlink(path("fs/file" + std::to_string(i - 1)).c_str());
      if (sync && fsync(folder.get()) != 0)
        break;
      if (sync)
        synced.push_back(std::move(file));
    }
    return synced;
  }

  std::vector<SyncedFile> write_until_killed(BoundaryRandom& random) {
    const microseconds life(random.below(kLongestLifeMicroseconds));
    std::thread killer([victim = daemon(), life] {
      std::this_thread::sleep_for(life);
      kill(victim, SIGKILL);
    });
    auto synced = write_files(random);
    killer.join();
    expect_exit(128 + SIGKILL);
    return synced;
  }

  void expect_files(const std::vector<SyncedFile>& synced) const {
    for (const SyncedFile& file : synced) {
      std::ifstream in(path("fs/" + file.name), std::ios::binary);
      const std::string found(std::istreambuf_iterator<char>(in), {});
      EXPECT_TRUE(found.size() == file.content.size() &&
                  std::memcmp(found.data(), file.content.data(), found.size()) == 0)
          << file.name << " of " << file.content.size() << " bytes, found " << found.size();
    }
  }

  void round(int number, BoundaryRandom& random) {
    const std::string cache = number % 2 == 0 ? "--cache=writeback" : "--cache=writethrough";
    put_in_place("--commit=1 " + cache);
    if (HasFatalFailure() || IsSkipped())
      return;
    const std::vector<SyncedFile> synced = write_until_killed(random);
    synced_ += synced.size();
    let_go();
    expect_verdict(4);
    std::filesystem::remove(path("pid"));
    expect_check("disk.vmdk", {0, 3});

    put_in_place(cache);
    ASSERT_FALSE(HasFatalFailure());
    expect_files(synced);
    EXPECT_TRUE(shell("rm -f fs/file*"));
    let_go();
    EXPECT_TRUE(shell(std::string(GetParam().check) + " flat"));
    expect_verdict(0);
    expect_exit(0);
    expect_check("disk.vmdk");
  }

  std::string device_;
  std::size_t synced_ = 0;
};

TEST_P(KillFileSystemTest, FsyncedFilesAreWholeAndTheJournalIsPlayedBack) {
  const std::string make = GetParam().make;
  NEEDS_PROGRAM(make.substr(0, make.find(' ')));
  BoundaryRandom random({.capacity = GetParam().disk_size});
  create("disk.vmdk", GetParam().disk_size);
  start();
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_TRUE(shell(make + " flat && mkdir fs"));
  end(0);
  const int rounds = soak() ? 200 : GetParam().rounds;
  for (int i = 0; i < rounds; ++i) {
    SCOPED_TRACE("round " + std::to_string(i));
    round(i, random);
    if (HasFailure() || IsSkipped())
      return;
  }
  EXPECT_GT(synced_, 0U) << "no round lived long enough to prove anything";
  RecordProperty("rounds", rounds);
  RecordProperty("synced_files", static_cast<int>(synced_));
}

INSTANTIATE_TEST_SUITE_P(Systems, KillFileSystemTest, ::testing::ValuesIn(kSystems),
                         [](const auto& system) { return std::string(system.param.name); });

}  // namespace
}  // namespace vmdkfuse::test
