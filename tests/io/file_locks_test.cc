// Locks against a second open of the same file, against other processes, and against QEMU.
#include "io/file_locks.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "base/hints.h"
#include "io/lock_holder.h"
#include "io/posix_file_system.h"
#include "support/child_program.h"
#include "support/command.h"
#include "system_calls.h"
#include "temp_folder.h"

namespace vmdk {
namespace {

using test::ChildProgram;
using test::have_program;

class FileLocksTest : public testing::Test {
 protected:
  FileLocksTest() { folder_.write("disk.img", std::string(64 * kKiB, 'x')); }

  std::unique_ptr<File> open(Access access = Access::kReadWrite) {
    return PosixFileSystem().open(path_, access).value();
  }

  // The bytes that others hold on the file, looked for in [first, end).
  std::set<int> held_bytes(int first = 90, int end = 220) const {
    std::set<int> held;
    const UniqueFd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    for (int position = first; position < end; ++position) {
      struct flock request {};

      request.l_type = F_WRLCK;
      request.l_whence = SEEK_SET;
      request.l_start = position;
      request.l_len = 1;
      EXPECT_EQ(::fcntl(fd.get(), F_OFD_GETLK, &request), 0);
      if (request.l_type != F_UNLCK)
        held.insert(position);
    }
    return held;
  }

  // Puts a VMDK that QEMU made in place of the file. (Over a raw image QEMU lets others write.)
  void make_vmdk() const {
    ASSERT_EQ(::unlink(path_.c_str()), 0);
    ASSERT_EQ(
        ChildProgram({"qemu-img", "create", "-q", "-f", "vmdk", path_.string(), "8M"}).finish(),
        "");
  }

  void expect_busy(const Status& status, const std::string& what) const {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code(), ErrorCode::kBusy);
    EXPECT_EQ(status.error().errno_value(), EBUSY);
    EXPECT_EQ(status.error().message(), path_.string() + ": in use" + what);
    EXPECT_EQ(status.error().hint(), kInUseHint);
  }

  TempFolder folder_;
  const std::filesystem::path path_ = folder_ / "disk.img";
  system_calls::Guard calls_;
};

// A process that holds locks on a file until it is let go.
class OtherHolder {
 public:
  OtherHolder(const std::filesystem::path& path, LockMode mode) {
    std::array<int, 2> ready{};
    std::array<int, 2> go{};
    if (::pipe(ready.data()) != 0 || ::pipe(go.data()) != 0)
      return;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(go[1]);
      auto file = PosixFileSystem().open(path, Access::kReadWrite);
      const char answer = file && (*file)->lock(mode) ? 'y' : 'n';
      char ignored = 0;
      const bool told = ::write(ready[1], &answer, 1) == 1;
      ::_exit(told && ::read(go[0], &ignored, 1) == 0 ? 0 : 1);
    }
    ::close(go[0]);
    ::close(ready[1]);
    go_ = UniqueFd(go[1]);
    char answer = 'n';
    holds_ = ::read(ready[0], &answer, 1) == 1 && answer == 'y';
    ::close(ready[0]);
  }

  OtherHolder(const OtherHolder&) = delete;
  OtherHolder& operator=(const OtherHolder&) = delete;

  ~OtherHolder() {
    go_ = UniqueFd();
    if (pid_ > 0)
      ::waitpid(pid_, nullptr, 0);
  }

  bool holds() const noexcept { return holds_; }

  std::string name() const { return "io_tests (pid " + std::to_string(pid_) + ")"; }

 private:
  pid_t pid_ = -1;
  UniqueFd go_;
  bool holds_ = false;
};

TEST_F(FileLocksTest, EachModeHoldsTheBytesThatQemuKnows) {
  const auto file = open();
  ASSERT_TRUE(file->lock(LockMode::kReadBesideWriter));
  EXPECT_EQ(held_bytes(), (std::set<int>{100}));
  ASSERT_TRUE(file->lock(LockMode::kRead));
  EXPECT_EQ(held_bytes(), (std::set<int>{100, 201, 203}));
  ASSERT_TRUE(file->lock(LockMode::kWrite));
  EXPECT_EQ(held_bytes(), (std::set<int>{100, 101, 103, 201, 203}));
  ASSERT_TRUE(file->lock(LockMode::kRead));
  EXPECT_EQ(held_bytes(), (std::set<int>{100, 201, 203}));
}

TEST_F(FileLocksTest, LocksGoWithTheFile) {
  {
    const auto file = open();
    ASSERT_TRUE(file->lock(LockMode::kWrite));
  }
  EXPECT_EQ(held_bytes(), std::set<int>());
  EXPECT_TRUE(open()->lock(LockMode::kWrite));
}

TEST_F(FileLocksTest, LocksStayWhenAnotherOpenOfTheFileIsClosed) {
  const auto file = open();
  ASSERT_TRUE(file->lock(LockMode::kWrite));
  open().reset();
  EXPECT_FALSE(open()->lock(LockMode::kRead));
}

TEST_F(FileLocksTest, AFileOpenForReadingCanBeLocked) {
  const auto file = open(Access::kReadOnly);
  EXPECT_TRUE(file->lock(LockMode::kRead));
  EXPECT_TRUE(open(Access::kReadOnly)->lock(LockMode::kRead));
}

TEST_F(FileLocksTest, WhoMayBeBesideWhom) {
  const auto allowed = [&](LockMode first, LockMode second) {
    const auto holder = open();
    EXPECT_TRUE(holder->lock(first));
    return open()->lock(second).has_value();
  };
  using Mode = LockMode;
  EXPECT_TRUE(allowed(Mode::kRead, Mode::kRead));
  EXPECT_FALSE(allowed(Mode::kRead, Mode::kWrite));
  EXPECT_TRUE(allowed(Mode::kRead, Mode::kReadBesideWriter));
  EXPECT_FALSE(allowed(Mode::kWrite, Mode::kRead));
  EXPECT_FALSE(allowed(Mode::kWrite, Mode::kWrite));
  EXPECT_TRUE(allowed(Mode::kWrite, Mode::kReadBesideWriter));
  EXPECT_TRUE(allowed(Mode::kReadBesideWriter, Mode::kRead));
  EXPECT_TRUE(allowed(Mode::kReadBesideWriter, Mode::kWrite));
  EXPECT_TRUE(allowed(Mode::kReadBesideWriter, Mode::kReadBesideWriter));
}

TEST_F(FileLocksTest, ASecondOpenInThisProcessIsToldSo) {
  const auto writer = open();
  ASSERT_TRUE(writer->lock(LockMode::kWrite));
  expect_busy(open()->lock(LockMode::kWrite), ": this process holds a write lock");
  expect_busy(open()->lock(LockMode::kRead), ": this process holds a write lock");
  ASSERT_TRUE(writer->lock(LockMode::kRead));
  expect_busy(open()->lock(LockMode::kWrite), ": this process holds a read lock");
}

TEST_F(FileLocksTest, ARefusedLockLeavesWhatWasHeldBefore) {
  const auto first = open();
  auto second = open();
  ASSERT_TRUE(first->lock(LockMode::kRead));
  EXPECT_FALSE(second->lock(LockMode::kWrite));
  EXPECT_EQ(held_bytes(), (std::set<int>{100, 201, 203}));
  ASSERT_TRUE(second->lock(LockMode::kRead));
  EXPECT_FALSE(first->lock(LockMode::kWrite));
  // Both still read, and neither left a byte behind that says it writes.
  EXPECT_EQ(held_bytes(), (std::set<int>{100, 201, 203}));
  EXPECT_TRUE(open()->lock(LockMode::kRead));
  second.reset();
  EXPECT_EQ(held_bytes(), (std::set<int>{100, 201, 203}));
}

TEST_F(FileLocksTest, AnotherProcessIsNamed) {
  {
    const OtherHolder holder(path_, LockMode::kWrite);
    ASSERT_TRUE(holder.holds());
    expect_busy(open()->lock(LockMode::kRead), ": " + holder.name() + " holds a write lock");
  }
  {
    const OtherHolder holder(path_, LockMode::kRead);
    ASSERT_TRUE(holder.holds());
    expect_busy(open()->lock(LockMode::kWrite), ": " + holder.name() + " holds a read lock");
    EXPECT_TRUE(open()->lock(LockMode::kRead));
  }
  EXPECT_TRUE(open()->lock(LockMode::kWrite));
}

TEST_F(FileLocksTest, AProcessThatMayNotBeLookedIntoIsAnotherProgram) {
  if (::getuid() != 0)
    GTEST_SKIP() << "locking as a second user needs root";
  std::filesystem::permissions(folder_.path(), std::filesystem::perms(0755));
  const OtherHolder holder(path_, LockMode::kWrite);
  ASSERT_TRUE(holder.holds());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::setuid(65534) != 0 || ::prctl(PR_SET_DUMPABLE, 1) != 0)
      ::_exit(2);
    const auto status = open(Access::kReadOnly)->lock(LockMode::kRead);
    ::_exit(!status && status.error().message() == path_.string() + ": in use by another program"
                ? 0
                : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(FileLocksTest, AForeignExclusiveRangeIsAConflict) {
  const UniqueFd other(::open(path_.c_str(), O_RDWR | O_CLOEXEC));

  struct flock request {};

  request.l_type = F_WRLCK;
  request.l_whence = SEEK_SET;  // from 0 to the end, however long the file
  ASSERT_EQ(::fcntl(other.get(), F_OFD_SETLK, &request), 0);
  const auto status = open()->lock(LockMode::kReadBesideWriter);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), ErrorCode::kBusy);
}

TEST_F(FileLocksTest, AReaderBesideWritersIsNotToldToReadBesideThem) {
  const UniqueFd other(::open(path_.c_str(), O_RDWR | O_CLOEXEC));

  struct flock request {};

  request.l_type = F_RDLCK;
  request.l_whence = SEEK_SET;
  request.l_start = 200;
  request.l_len = 1;
  ASSERT_EQ(::fcntl(other.get(), F_OFD_SETLK, &request), 0);
  const auto status = open()->lock(LockMode::kReadBesideWriter);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message(),
            path_.string() + ": in use: this process holds an exclusive lock");
  EXPECT_EQ(status.error().hint(), "stop the program that uses it");
}

TEST_F(FileLocksTest, AFileSystemWithoutLocksIsUnsupported) {
  const auto file = open();
  for (const int missing : {ENOLCK, EOPNOTSUPP, ENOSYS, EINVAL}) {
    system_calls::plan().lock_error = missing;
    const auto status = file->lock(LockMode::kRead);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code(), ErrorCode::kUnsupported);
    EXPECT_EQ(status.error().message().rfind(
                  path_.string() + ": cannot be locked: the file system has no locks: ", 0),
              0U);
  }
  system_calls::plan().lock_error = EIO;
  EXPECT_EQ(file->lock(LockMode::kRead).error().errno_value(), EIO);
}

TEST_F(FileLocksTest, InterruptedLockCallsAreRepeated) {
  const auto file = open();
  system_calls::plan().interruptions = 3;
  EXPECT_TRUE(file->lock(LockMode::kWrite));
  EXPECT_EQ(held_bytes(), (std::set<int>{100, 101, 103, 201, 203}));
}

TEST_F(FileLocksTest, QemuKeepsOutOfAFileThatIsWritten) {
  if (!have_program("qemu-img"))
    GTEST_SKIP() << "qemu-img is not installed";
  make_vmdk();
  const auto info = [&](std::vector<std::string> options) {
    std::vector<std::string> command{"qemu-img", "info", path_.string()};
    command.insert(command.begin() + 2, options.begin(), options.end());
    return ChildProgram(command).finish();
  };
  const auto contains = [](const std::string& said, std::string_view text) {
    EXPECT_NE(said.find(text), std::string::npos) << said;
  };
  const auto file = open();
  ASSERT_TRUE(file->lock(LockMode::kWrite));
  contains(info({}), "Failed to get shared \"write\" lock");
  contains(info({"-U"}), "virtual size: 8 MiB");
  ASSERT_TRUE(file->lock(LockMode::kRead));
  contains(info({}), "virtual size: 8 MiB");
}

TEST_F(FileLocksTest, QemuDoesNotWriteAFileThatIsRead) {
  if (!have_program("qemu-io"))
    GTEST_SKIP() << "qemu-io is not installed";
  const auto file = open(Access::kReadOnly);
  ASSERT_TRUE(file->lock(LockMode::kRead));
  const auto said =
      ChildProgram({"qemu-io", "-f", "raw", "-c", "write 0 512", path_.string()}).finish();
  EXPECT_NE(said.find("Failed to get \"write\" lock"), std::string::npos) << said;
  EXPECT_EQ(text_of(*file), std::string(64 * kKiB, 'x'));
}

TEST_F(FileLocksTest, QemuIsNamedAsTheHolder) {
  if (!have_program("qemu-io") || !have_program("qemu-img"))
    GTEST_SKIP() << "qemu-io and qemu-img are not installed";
  make_vmdk();
  {
    ChildProgram qemu({"qemu-io", "-f", "vmdk", path_.string()});
    qemu.say("read 0 512\n");
    ASSERT_TRUE(qemu.wait_for("read 512/512 bytes"));
    const auto name = ": qemu-io (pid " + std::to_string(qemu.pid()) + ")";
    expect_busy(open()->lock(LockMode::kWrite), name + " holds a write lock");
    expect_busy(open()->lock(LockMode::kRead), name + " holds a write lock");
    EXPECT_TRUE(open()->lock(LockMode::kReadBesideWriter));
  }
  {
    ChildProgram qemu({"qemu-io", "-r", "-f", "vmdk", path_.string()});
    qemu.say("read 0 512\n");
    ASSERT_TRUE(qemu.wait_for("read 512/512 bytes"));
    const auto name = ": qemu-io (pid " + std::to_string(qemu.pid()) + ")";
    expect_busy(open()->lock(LockMode::kWrite), name + " holds a read lock");
    EXPECT_TRUE(open()->lock(LockMode::kRead));
  }
  EXPECT_TRUE(open()->lock(LockMode::kWrite));
}

}  // namespace
}  // namespace vmdk
