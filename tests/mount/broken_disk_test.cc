// The disk below the file system of the image fails or is slow: a server of block devices plays it,
// which can be told to.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <future>
#include <iterator>
#include <memory>
#include <string>
#include <thread>

#include <gmock/gmock.h>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::HasSubstr;
using vmdk::UniqueFd;
using vmdk::test::ChildProgram;

constexpr std::size_t kPiece = 64 * vmdk::kKiB;

// fs/ is an ext4 file system on a disk that nbdkit makes; the image lies in it.
class BrokenDiskTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped())
      return;
    NEEDS_PROGRAM("nbdkit");
    NEEDS_PROGRAM("nbdfuse");
    NEEDS_PROGRAM("mkfs.ext4");
    make_reference("ref");
    std::ifstream ref(path("ref"), std::ios::binary);
    ref_.assign(std::istreambuf_iterator<char>(ref), {});
    ASSERT_TRUE(shell("truncate -s 96M raw && mkfs.ext4 -q -F raw && mkdir nbd fs"));
  }

  void TearDown() override {
    // In the end nothing may wait for a disk that stands still.
    if (disk_)
      kill(disk_->pid(), SIGCONT);
    in_folder("rm -f broken; " + shell_word(VMDKFUSE_PROGRAM) + " -u flat");
    take_host_away();
    MountTest::TearDown();
    client_.reset();
    disk_.reset();
  }

  // Puts the disk, as nbdkit's `filters` make it, and the file system on it in place.
  void put_host(const std::string& filters) {
    disk_ = run("exec nbdkit -f -U nbd.sock " + filters);
    ASSERT_TRUE(eventually([this] { return std::filesystem::exists(path("nbd.sock")); }));
    client_ = run("exec nbdfuse nbd 'nbd+unix:///?socket='\"$PWD\"/nbd.sock");
    ASSERT_TRUE(eventually([this] { return size_of(path("nbd/nbd")) != 0; }));
    const auto device = attach_loop("nbd/nbd");
    if (!device)
      GTEST_SKIP() << "no loop device to be had";
    device_ = *device;
    mount_host();
  }

  void mount_host() { ASSERT_TRUE(shell("mount -o errors=continue " + device_ + " fs")); }

  void take_host_away() {
    in_folder("umount fs");
    if (!device_.empty())
      in_folder("losetup -d " + device_);
    in_folder("umount nbd");
  }

  UniqueFd open_flat(int flags = O_RDWR) const {
    UniqueFd file(open(path("flat").c_str(), flags | O_CLOEXEC));
    EXPECT_TRUE(file) << std::strerror(errno);
    return file;
  }

  // That piece of the reference; the errno, 0 when it went well.
  int write_piece(int file, std::size_t piece) const {
    const ssize_t put =
        pwrite(file, ref_.data() + piece * kPiece, kPiece, static_cast<off_t>(piece * kPiece));
    return put == static_cast<ssize_t>(kPiece) ? 0 : errno;
  }

  bool piece_is_right(int file, std::size_t piece) const {
    std::string bytes(kPiece, '\0');
    return pread(file, bytes.data(), kPiece, static_cast<off_t>(piece * kPiece)) ==
               static_cast<ssize_t>(kPiece) &&
           ref_.compare(piece * kPiece, kPiece, bytes) == 0;
  }

  std::unique_ptr<ChildProgram> run(const std::string& command) const {
    return std::make_unique<ChildProgram>(
        std::vector<std::string>{"sh", "-c", "cd " + word("") + " && " + command});
  }

  std::unique_ptr<ChildProgram> disk_;
  std::unique_ptr<ChildProgram> client_;
  std::string device_;
  std::string ref_;
};

TEST_F(BrokenDiskTest, AFailedSyncIsToldUntilTheImageIsMountedAnew) {
  put_host(
      "--filter=error file raw error-pwrite=EIO error-pwrite-rate=100% "
      "error-pwrite-file=" +
      word("broken"));
  if (HasFatalFailure() || IsSkipped())
    return;
  create("fs/disk.vmdk");
  start("--cache=none --commit=0 fs/disk.vmdk flat");
  ASSERT_FALSE(HasFatalFailure());
  {
    const UniqueFd file = open_flat();
    for (std::size_t piece = 0; piece < 16; ++piece)
      ASSERT_EQ(write_piece(file.get(), piece), 0);
    ASSERT_EQ(fsync(file.get()), 0);
    ASSERT_TRUE(shell("touch broken"));
    const int written = write_piece(file.get(), 20);
    EXPECT_TRUE(written == 0 || written == EIO) << std::strerror(written);
    EXPECT_EQ(fsync(file.get()), -1);
    EXPECT_EQ(errno, EIO);
    EXPECT_EQ(write_piece(file.get(), 21), EIO);
    EXPECT_EQ(fsync(file.get()), -1);
    for (std::size_t piece = 0; piece < 16; ++piece)
      EXPECT_TRUE(piece_is_right(file.get(), piece)) << "reads go on: " << piece;
    // The disk is well again, but what it failed to take is not there.
    ASSERT_TRUE(shell("rm broken"));
    EXPECT_EQ(write_piece(file.get(), 22), EIO);
    EXPECT_EQ(fsync(file.get()), -1);
    EXPECT_EQ(errno, EIO);
    EXPECT_NE(shell_status("dd if=ref of=flat bs=64k count=1 conv=notrunc"), 0);
    EXPECT_TRUE(piece_is_right(file.get(), 3));
  }
  const CommandResult verdict = end(2);
  EXPECT_THAT(verdict.err, HasSubstr("not everything is on disk: Input/output error"));
  EXPECT_THAT(messages(), HasSubstr("the last commit failed: fs/disk.vmdk: Input/output error"));
  // The journal of the host's file system may have ended, too.
  ASSERT_TRUE(shell("umount fs"));
  mount_host();
  expect_check("fs/disk.vmdk", {0, 3});
  start("--cache=none fs/disk.vmdk flat");
  ASSERT_FALSE(HasFatalFailure());
  {
    const UniqueFd file = open_flat();
    for (std::size_t piece = 0; piece < 16; ++piece)
      EXPECT_TRUE(piece_is_right(file.get(), piece)) << piece;
    EXPECT_EQ(write_piece(file.get(), 21), 0);
    EXPECT_EQ(fsync(file.get()), 0);
  }
  end(0);
  expect_check("fs/disk.vmdk");
}

// Each write takes its time, and once all stands still: nobody gives up, whoever need not wait
// does not, and nothing is lost.
TEST_F(BrokenDiskTest, ASlowDiskIsWaitedFor) {
  const seconds stall(soak() ? 60 : 3);
  const std::string delay = soak() ? "500ms" : "100ms";
  put_host("--filter=delay file raw delay-write=" + delay);
  if (HasFatalFailure() || IsSkipped())
    return;
  create("fs/disk.vmdk");
  start("--cache=none --commit=1 fs/disk.vmdk flat");
  ASSERT_FALSE(HasFatalFailure());
  {
    const UniqueFd file = open_flat();
    for (std::size_t piece = 0; piece < 16; ++piece)
      ASSERT_EQ(write_piece(file.get(), piece), 0);
    ASSERT_EQ(fsync(file.get()), 0);
    std::atomic<bool> done{false};
    auto writer = std::async(std::launch::async, [&] {
      int wrong = 0;
      for (std::size_t piece = 16; piece < 48 && wrong == 0; ++piece) {
        wrong = write_piece(file.get(), piece);
        if (wrong == 0 && piece % 16 == 15 && fsync(file.get()) != 0)
          wrong = errno;
      }
      done = true;
      return wrong;
    });
    auto stiller = std::async(std::launch::async, [&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      kill(disk_->pid(), SIGSTOP);
      std::this_thread::sleep_for(stall);
      kill(disk_->pid(), SIGCONT);
    });
    const UniqueFd reader = open_flat(O_RDONLY);
    auto longest = steady_clock::duration::zero();
    std::size_t reads = 0;
    do {
      const auto begin = steady_clock::now();
      EXPECT_TRUE(piece_is_right(reader.get(), reads++ % 16));
      longest = std::max(longest, steady_clock::now() - begin);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    } while (!done);
    stiller.get();
    EXPECT_EQ(writer.get(), 0);
    EXPECT_LT(longest, seconds(1)) << "of " << reads;
  }
  end(0);
  expect_check("fs/disk.vmdk");
  start("-r fs/disk.vmdk flat");
  ASSERT_FALSE(HasFatalFailure());
  EXPECT_TRUE(shell("cmp -n " + std::to_string(48 * kPiece) + " ref flat"));
  end(0);
}

}  // namespace
}  // namespace vmdkfuse::test
