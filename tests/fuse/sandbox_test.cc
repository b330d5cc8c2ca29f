// The sandbox, from within: a process enters it and tries what an attacker in it would try.
#include "vmdkfuse/sandbox.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "io/unique_fd.h"
#include "support/child_process.h"
#include "support/failing_calls.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace vmdkfuse {
namespace {

using vmdk::UniqueFd;
using vmdk::test::in_child_process;
using vmdk::test::with_failing_calls;

// "ok" or the errno's name as far as these tests need it.
std::string verdict(bool done) {
  if (done)
    return "ok";
  switch (errno) {
    case EACCES:
      return "EACCES";
    case EPERM:
      return "EPERM";
    default:
      return "errno " + std::to_string(errno);
  }
}

// An attempt and what came of it: "name verdict\n".
std::string tried(const std::string& name, bool done) {
  const std::string outcome = verdict(done);
  return name + " " + outcome + "\n";
}

class SandboxTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (const auto offered = landlock_abi(); !offered)
      GTEST_SKIP() << offered.error().message();
    write("secret", "secret");
    write("flat", "disk");
    write("other", "other");
    ASSERT_EQ(mkdir(path("folder").c_str(), 0700), 0);
  }

  int abi() const { return GetParam(); }

  std::string path(const std::string& name) const { return (dir_ / name).string(); }

  void write(const std::string& name, const std::string& text) const {
    const UniqueFd file(open(path(name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  // Has the child enter the sandbox of the tested version; then `body` says what it could do.
  template <class Body>
  std::string inside(Body body) const {
    return in_child_process([&]() -> std::string {
      const auto entered = enter_sandbox({.mountpoint = path("flat"), .socket_folder = ""}, abi());
      if (!entered)
        return "not entered: " + entered.error().message();
      return "version " + std::to_string(*entered) + "\n" + body();
    });
  }

  std::string version() const { return "version " + std::to_string(abi()) + "\n"; }

  vmdk::test::TempDir dir_;
};

// Each version as the kernel keeps it for programs that know no newer one.
int newest_here() {
  return std::min(landlock_abi().value_or(1), kNewestLandlockAbi);
}

INSTANTIATE_TEST_SUITE_P(Versions, SandboxTest, testing::Range(1, newest_here() + 1));

TEST(LandlockVersionsTest, AllThatWeKnowAreTried) {
  if (newest_here() < kNewestLandlockAbi)
    GTEST_SKIP() << "this kernel's Landlock ends with version " << newest_here() << ": those up to "
                 << kNewestLandlockAbi << " were not tried";
}

TEST_P(SandboxTest, OpensMakesAndRemovesNothing) {
  EXPECT_EQ(
      inside([&] {
        std::string text;
        text += tried("read", open(path("secret").c_str(), O_RDONLY) >= 0);
        text += tried("write", open(path("secret").c_str(), O_WRONLY) >= 0);
        text += tried("flat", open(path("flat").c_str(), O_RDONLY) >= 0);
        text += tried("create", open(path("new").c_str(), O_WRONLY | O_CREAT, 0600) >= 0);
        text += tried("unnamed", open(dir_.path().c_str(), O_RDWR | O_TMPFILE, 0600) >= 0);
        text += tried("list", open(dir_.path().c_str(), O_RDONLY | O_DIRECTORY) >= 0);
        text += tried("memory", open("/proc/self/mem", O_RDWR) >= 0);
        text += tried("mkdir", mkdir(path("made").c_str(), 0700) == 0);
        text += tried("rmdir", rmdir(path("folder").c_str()) == 0);
        text += tried("unlink", unlink(path("secret").c_str()) == 0);
        text += tried("symlink", symlink("secret", path("link").c_str()) == 0);
        text += tried("rename", rename(path("secret").c_str(), path("new").c_str()) == 0);
        text += tried("mknod", mkfifo(path("fifo").c_str(), 0600) == 0);
        return text;
      }),
      version() +
          "read EACCES\nwrite EACCES\nflat EACCES\ncreate EACCES\nunnamed EACCES\nlist EACCES\n"
          "memory EACCES\nmkdir EACCES\nrmdir EACCES\nunlink EACCES\nsymlink EACCES\n"
          "rename EACCES\nmknod EACCES\n");
  EXPECT_EQ(access(path("secret").c_str(), F_OK), 0);
}

TEST_P(SandboxTest, StartsNoProgram) {
  EXPECT_EQ(inside([] {
              char program[] = "/bin/true";
              char* const arguments[] = {program, nullptr};
              execv(program, arguments);
              return tried("exec", false);
            }),
            version() + "exec EACCES\n");
}

TEST_P(SandboxTest, KeepsWhatIsOpen) {
  const UniqueFd image(open(path("secret").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(image);
  EXPECT_EQ(inside([&] {
              char byte = 0;
              std::string text;
              text += tried("pread", pread(image.get(), &byte, 1, 0) == 1);
              text += tried("pwrite", pwrite(image.get(), "S", 1, 0) == 1);
              text += tried("fdatasync", fdatasync(image.get()) == 0);
              text += tried("ftruncate", ftruncate(image.get(), 4096) == 0);
              text += tried("fallocate", fallocate(image.get(), 0, 0, 8192) == 0);
              struct flock lock {};
              lock.l_type = F_WRLCK;
              lock.l_len = 1;
              text += tried("lock", fcntl(image.get(), F_OFD_SETLK, &lock) == 0);
              return text;
            }),
            version() + "pread ok\npwrite ok\nfdatasync ok\nftruncate ok\nfallocate ok\nlock ok\n");
}

// The daemon truncates its own mount, by a name in /proc, to tell the kernel its size.
TEST_P(SandboxTest, GivesLengthsToTheMountAlone) {
  const std::string elsewhere = abi() >= 3 ? "EACCES" : "ok";
  EXPECT_EQ(inside([&] {
              const UniqueFd flat(open(path("flat").c_str(), O_PATH | O_CLOEXEC));
              const std::string way = fmt::format("/proc/self/fd/{}", flat.get());
              const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};
              std::string text;
              text += tried("flat", truncate(way.c_str(), 4096) == 0);
              text += tried("time", utimensat(AT_FDCWD, way.c_str(), times, 0) == 0);
              text += tried("other", truncate(path("other").c_str(), 4096) == 0);
              return text;
            }),
            version() + "flat ok\ntime ok\nother " + elsewhere + "\n");
}

TEST_P(SandboxTest, ReachesNoNetworkFromTheFourthVersionOn) {
  const std::string expected = abi() >= 4 ? "EACCES" : "ok";
  const UniqueFd server(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* general = reinterpret_cast<sockaddr*>(&address);
  if (bind(server.get(), general, sizeof address) != 0 || listen(server.get(), 1) != 0 ||
      getsockname(server.get(), general, &length) != 0)
    GTEST_SKIP() << "no loopback network here: " << std::strerror(errno);
  EXPECT_EQ(inside([&] {
              const UniqueFd one(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
              const UniqueFd other(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
              std::string text;
              text += tried("connect", connect(one.get(), general, sizeof address) == 0);
              address.sin_port = 0;
              text += tried("bind", bind(other.get(), general, sizeof address) == 0);
              return text;
            }),
            version() + "connect " + expected + "\nbind " + expected + "\n");
}

TEST_P(SandboxTest, ReachesNoOtherProcessFromTheSixthVersionOn) {
  const std::string expected = abi() >= 6 ? "EPERM" : "ok";
  const UniqueFd server(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // An abstract name: the first byte is zero.
  const std::string name = fmt::format("vmdkfuse-test-{}", getpid());
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  const auto* general = reinterpret_cast<const sockaddr*>(&address);
  ASSERT_EQ(bind(server.get(), general, length), 0);
  ASSERT_EQ(listen(server.get(), 1), 0);
  const pid_t parent = getpid();
  EXPECT_EQ(inside([&] {
              const UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
              std::string text;
              text += tried("connect", connect(client.get(), general, length) == 0);
              text += tried("signal", kill(parent, 0) == 0);
              return text;
            }),
            version() + "connect " + expected + "\nsignal " + expected + "\n");
}

TEST_P(SandboxTest, ChangesNoMountsAndTracesNobody) {
  const pid_t parent = getpid();
  EXPECT_EQ(inside([&] {
              std::string text;
              text += tried("mount", ::mount("none", path("folder").c_str(), "tmpfs", 0, "") == 0);
              text += tried("ptrace", ptrace(PTRACE_SEIZE, parent, nullptr, nullptr) == 0);
              return text;
            }),
            version() + "mount EPERM\nptrace EPERM\n");
}

TEST_P(SandboxTest, HoldsForThreadsStartedLaterAndForChildren) {
  EXPECT_EQ(inside([&] {
              std::string text;
              std::thread([&] {
                text += tried("thread", open(path("secret").c_str(), O_RDONLY) >= 0);
              }).join();
              return text + in_child_process([&] {
                       return tried("child", open(path("secret").c_str(), O_RDONLY) >= 0);
                     });
            }),
            version() + "thread EACCES\nchild EACCES\n");
}

TEST_P(SandboxTest, DeviceControlEndsWithTheFifthVersion) {
  const UniqueFd device(open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(device);
  EXPECT_EQ((landlock_access(abi()).files & (1ULL << 15U)) != 0, abi() >= 5);
  // What was open before is not touched: the daemon's own device must go on.
  EXPECT_EQ(inside([&] {
              int bytes = 0;
              ioctl(device.get(), FIONREAD, &bytes);
              return std::string(errno == EACCES ? "forbidden" : "passed on");
            }),
            version() + "passed on");
}

TEST(LandlockAccessTest, EachVersionAddsToTheOneBefore) {
  EXPECT_EQ(landlock_access(1).files, 0x1FFFU);
  EXPECT_EQ(landlock_access(1).network, 0U);
  EXPECT_EQ(landlock_access(2).files, 0x3FFFU);
  EXPECT_EQ(landlock_access(3).files, 0x7FFFU);
  EXPECT_EQ(landlock_access(4).network, 0x3U);
  EXPECT_EQ(landlock_access(5).files, 0xFFFFU);
  EXPECT_EQ(landlock_access(6).scopes, 0x3U);
  EXPECT_EQ(landlock_access(8).files, landlock_access(6).files);
  EXPECT_EQ(landlock_access(9).files, 0x1FFFFU);
  EXPECT_EQ(landlock_access(10).network, 0xFU);
  EXPECT_EQ(landlock_access(99).network, landlock_access(kNewestLandlockAbi).network);
}

TEST(LandlockAbsentTest, TheKernelsReasonIsKept) {
  for (const int err : {ENOSYS, EOPNOTSUPP}) {
    const bool filtered = with_failing_calls({{SYS_landlock_create_ruleset, err}}, [&] {
      EXPECT_THAT(landlock_abi(), vmdk::test::FailsWith(err));
      EXPECT_THAT(enter_sandbox({}), vmdk::test::FailsWith(err));
      // Nothing was given up for nothing. (The filter itself needs the mark, so it cannot be
      // asked.)
      EXPECT_GE(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
    });
    if (!filtered)
      GTEST_SKIP() << "this system does not let a process filter its own system calls";
  }
}

}  // namespace
}  // namespace vmdkfuse
