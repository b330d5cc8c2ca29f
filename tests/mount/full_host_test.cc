// The file system below is full, or the daemon may not make its file longer: the writer is told,
// and goes on when there is room again, without a new mount.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

constexpr std::size_t kPiece = 64 * vmdk::kKiB;

class FullHostTest : public MountTest {
 protected:
  // Makes the image on a file system of 6 MiB, half of which something else takes.
  void make_small_host() {
    std::filesystem::create_directory(path("small"));
    if (const CommandResult result = in_folder("mount -t tmpfs -o size=6m none small");
        result.status != 0)
      GTEST_SKIP() << "no permission to mount a tmpfs: " << result.err;
    create("small/disk.vmdk");
    ASSERT_TRUE(shell("head -c 3M /dev/zero > small/other"));
  }

  void open_flat() {
    file_ = vmdk::UniqueFd(open(path("flat").c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(file_) << std::strerror(errno);
    make_reference("ref");
    std::ifstream ref(path("ref"), std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(ref), {});
  }

  // Writes that piece of the reference; the errno, 0 when it went well.
  int write_piece(std::size_t number) const {
    const ssize_t put = pwrite(file_.get(), bytes_.data() + number * kPiece, kPiece,
                               static_cast<off_t>(number * kPiece));
    return put < 0 ? errno : put == static_cast<ssize_t>(kPiece) ? 0 : EIO;
  }

  // Writes pieces until one fails, which must be with `wanted`. Returns its number.
  std::size_t write_until(int wanted) {
    std::size_t piece = 0;
    int wrong = 0;
    while (piece < kDiskSize / kPiece && (wrong = write_piece(piece)) == 0)
      ++piece;
    EXPECT_EQ(wrong, wanted) << std::strerror(wrong);
    EXPECT_GT(piece, 0U);
    EXPECT_EQ(fsync(file_.get()), 0) << "what was taken has its place";
    return piece;
  }

  // The write that failed and those behind it.
  void write_the_rest(std::size_t piece, std::size_t end) {
    for (; piece < end; ++piece)
      ASSERT_EQ(write_piece(piece), 0) << std::strerror(errno) << ": piece " << piece;
    ASSERT_EQ(fsync(file_.get()), 0) << std::strerror(errno);
  }

  void expect_content(const std::string& image, std::size_t pieces) {
    mount_image(image, "-r");
    EXPECT_TRUE(shell("cmp -n " + std::to_string(pieces * kPiece) + " ref flat"));
    unmount();
  }

  void mount_image(const std::string& image, const std::string& options) {
    const CommandResult result = vmdkfuse("--pid-file=pid " + options + " " + image + " flat");
    ASSERT_EQ(result.status, 0) << result.to_text();
  }

  vmdk::UniqueFd file_;
  std::string bytes_;
};

class FullHostCacheTest : public FullHostTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(FullHostCacheTest, TheSameWriteSucceedsWhenThereIsRoomAgain) {
  make_small_host();
  if (HasFatalFailure() || IsSkipped())
    return;
  start(std::string("--cache=") + GetParam() + " small/disk.vmdk flat");
  ASSERT_FALSE(HasFatalFailure());
  open_flat();
  const std::size_t refused = write_until(ENOSPC);
  EXPECT_EQ(write_piece(refused), ENOSPC) << "still";
  ASSERT_TRUE(shell("cmp -n " + std::to_string(refused * kPiece) + " ref flat"));
  ASSERT_TRUE(shell("rm small/other"));
  const std::size_t end = refused + 2 * vmdk::kMiB / kPiece;
  write_the_rest(refused, end);
  file_ = {};
  this->end(0);
  expect_check("small/disk.vmdk");
  expect_content("small/disk.vmdk", end);
}

INSTANTIATE_TEST_SUITE_P(CacheModes, FullHostCacheTest, ::testing::Values("writethrough", "none"),
                         [](const auto& mode) { return std::string(mode.param); });

// Written pages that found no room are gone from the page cache: fsync tells, writing them again
// saves them, and the verdict at the end keeps the loss.
TEST_F(FullHostTest, PagesThatFindNoRoomAreToldOf) {
  make_small_host();
  if (HasFatalFailure() || IsSkipped())
    return;
  start("--cache=writeback small/disk.vmdk flat");
  ASSERT_FALSE(HasFatalFailure());
  open_flat();
  constexpr std::size_t kEnd = 4 * vmdk::kMiB / kPiece;
  int wrong = 0;
  for (std::size_t piece = 0; piece < kEnd && wrong == 0; ++piece)
    wrong = write_piece(piece);
  if (wrong == 0 && fsync(file_.get()) != 0)
    wrong = errno;
  EXPECT_EQ(wrong, ENOSPC) << std::strerror(wrong);
  ASSERT_TRUE(shell("rm small/other"));
  write_the_rest(0, kEnd);
  file_ = {};
  const CommandResult verdict = end(2);
  EXPECT_NE(verdict.err.find("writes from the page cache could not be stored"), std::string::npos)
      << verdict.to_text();
  expect_check("small/disk.vmdk");
  expect_content("small/disk.vmdk", kEnd);
}

TEST_F(FullHostTest, ALimitOfFileSizeIsToldAndKillsNobody) {
  create();
  // Blocks of 512 bytes. The soft limit alone, so that it can be taken back.
  start("--cache=none disk.vmdk flat", "ulimit -S -f 6144");
  ASSERT_FALSE(HasFatalFailure());
  open_flat();
  const std::size_t refused = write_until(EFBIG);
  EXPECT_TRUE(daemon_lives()) << "SIGXFSZ";
  constexpr rlimit kNone{RLIM_INFINITY, RLIM_INFINITY};
  ASSERT_EQ(prlimit(daemon(), RLIMIT_FSIZE, &kNone, nullptr), 0) << std::strerror(errno);
  constexpr std::size_t kEnd = kDiskSize / kPiece;
  write_the_rest(refused, kEnd);
  file_ = {};
  end(0);
  expect_check("disk.vmdk");
  expect_content("disk.vmdk", kEnd);
}

}  // namespace
}  // namespace vmdkfuse::test
