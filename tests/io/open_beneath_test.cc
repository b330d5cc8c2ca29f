// open_beneath(): nothing outside the folder is opened, by the kernel's lookup and by our own.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "io/beneath.h"
#include "io/posix_file_system.h"
#include "temp_folder.h"

namespace vmdk {
namespace {

// A folder "vm" with files and links, and beside it what must not be reached.
class BeneathFolder {
 public:
  BeneathFolder() {
    outer_.write("secret", "secret");
    outer_.write("vm/disk.vmdk", "disk");
    outer_.write("vm/sub/deep/extent.vmdk", "extent");
    link("disk.vmdk", "vm/link");
    link("sub/deep", "vm/short");
    link("../disk.vmdk", "vm/sub/up");
    link("../../disk.vmdk", "vm/sub/deep/up");
    link("link", "vm/link2");
    link("../secret", "vm/out");
    link("..", "vm/parent");
    link((outer_ / "secret").string(), "vm/absolute-out");
    link((outer_ / "vm/disk.vmdk").string(), "vm/absolute-in");
    link("loop2", "vm/loop1");
    link("loop1", "vm/loop2");
    link("loop3/x", "vm/loop3");
    link("gone", "vm/dangling");
    link("sub/", "vm/folder");
    link("disk.vmdk/", "vm/slash");
    if (::mkfifo((outer_ / "vm/pipe").c_str(), 0600) != 0)
      ADD_FAILURE() << "mkfifo failed";
    for (int i = 0; i < 41; ++i)
      link(i == 0 ? "disk.vmdk" : "hop" + std::to_string(i - 1), "vm/hop" + std::to_string(i));
  }

  std::filesystem::path path() const { return outer_ / "vm"; }

  const TempFolder& outer() const { return outer_; }

 private:
  void link(const std::string& target, std::string_view name) {
    std::filesystem::create_symlink(target, outer_ / name);
  }

  TempFolder outer_;
};

class OpenBeneathTest : public testing::TestWithParam<BeneathLookup> {
 protected:
  Result<std::unique_ptr<File>> open(const std::filesystem::path& relative,
                                     Access access = Access::kReadOnly) {
    return system_.open_beneath(folder_.path(), relative, access);
  }

  // The content of the file, or the error.
  std::string content(const std::filesystem::path& relative) {
    const auto file = open(relative);
    return file ? text_of(**file) : file.error().message();
  }

  void expect_outside(const std::string& relative) {
    const auto file = open(relative);
    ASSERT_FALSE(file) << relative;
    EXPECT_EQ(file.error().code(), ErrorCode::kDenied);
    EXPECT_EQ(file.error().message(),
              relative + ": lies outside the folder " + folder_.path().string());
  }

  void expect_errno(const std::string& relative, int err) {
    const auto file = open(relative);
    ASSERT_FALSE(file) << relative;
    EXPECT_EQ(file.error().errno_value(), err) << file.error().message();
    EXPECT_EQ(file.error().message().rfind((folder_.path() / relative).string() + ": ", 0), 0U)
        << file.error().message();
  }

  BeneathFolder folder_;
  PosixFileSystem system_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Lookups, OpenBeneathTest,
                         testing::Values(BeneathLookup::kAutomatic, BeneathLookup::kWalk),
                         [](const auto& tested) {
                           return tested.param == BeneathLookup::kWalk ? "Walk" : "Automatic";
                         });

TEST_P(OpenBeneathTest, OpensFilesInTheFolderAndBelow) {
  EXPECT_EQ(content("disk.vmdk"), "disk");
  EXPECT_EQ(content("./disk.vmdk"), "disk");
  EXPECT_EQ(content("sub/deep/extent.vmdk"), "extent");
  EXPECT_EQ(content("sub//deep/./extent.vmdk"), "extent");
}

TEST_P(OpenBeneathTest, NamesTheFileByFolderAndName) {
  const auto file = open("sub/deep/extent.vmdk");
  ASSERT_TRUE(file);
  EXPECT_EQ((*file)->name(), (folder_.path() / "sub/deep/extent.vmdk").string());
}

TEST_P(OpenBeneathTest, OpensForWriting) {
  const auto file = open("disk.vmdk", Access::kReadWrite);
  ASSERT_TRUE(file) << file.error().message();
  ASSERT_TRUE(write_text(**file, 0, "DISK"));
  EXPECT_EQ(text_of(folder_.path() / "disk.vmdk"), "DISK");
}

TEST_P(OpenBeneathTest, DotDotMayGoUpInside) {
  EXPECT_EQ(content("sub/../disk.vmdk"), "disk");
  EXPECT_EQ(content("sub/deep/../../disk.vmdk"), "disk");
}

TEST_P(OpenBeneathTest, DotDotMayNotLeadOut) {
  expect_outside("../secret");
  expect_outside("..");
  expect_outside("sub/../../secret");
  expect_outside("../vm/disk.vmdk");
}

TEST_P(OpenBeneathTest, AbsoluteNamesAreOutside) {
  expect_outside("/etc/passwd");
  expect_outside((folder_.path() / "disk.vmdk").string());
}

TEST_P(OpenBeneathTest, LinksInsideAreFollowed) {
  EXPECT_EQ(content("link"), "disk");
  EXPECT_EQ(content("link2"), "disk");
  EXPECT_EQ(content("short/extent.vmdk"), "extent");
  EXPECT_EQ(content("short/../deep/extent.vmdk"), "extent");
  EXPECT_EQ(content("sub/up"), "disk");
  EXPECT_EQ(content("sub/deep/up"), "disk");
  EXPECT_EQ(content("folder/deep/extent.vmdk"), "extent");
}

TEST_P(OpenBeneathTest, LinksThatLeadOutAreNot) {
  expect_outside("out");
  expect_outside("parent/secret");
  expect_outside("parent/vm/disk.vmdk");
  expect_outside("absolute-out");
  expect_outside("absolute-in");
}

TEST_P(OpenBeneathTest, LinkLoopsEnd) {
  expect_errno("loop1", ELOOP);
  expect_errno("loop3", ELOOP);
  EXPECT_EQ(content("hop39"), "disk");  // 40 links, as many as the kernel follows
  expect_errno("hop40", ELOOP);
}

TEST_P(OpenBeneathTest, WhatIsMissingIsNamed) {
  expect_errno("none.vmdk", ENOENT);
  expect_errno("none/../disk.vmdk", ENOENT);
  expect_errno("dangling", ENOENT);
  expect_errno("", ENOENT);
  expect_errno("disk.vmdk/", ENOTDIR);
  expect_errno("disk.vmdk/.", ENOTDIR);
  expect_errno("disk.vmdk/..", ENOTDIR);
  expect_errno("disk.vmdk/x", ENOTDIR);
  expect_errno("slash", ENOTDIR);
  expect_errno(std::string(300, 'x'), ENAMETOOLONG);
  expect_errno(std::string(PATH_MAX, '/').replace(0, 1, "."), ENAMETOOLONG);
}

TEST_P(OpenBeneathTest, RegularFilesOnlyAndNeverWaitsForAFifo) {
  const auto refused = [&](std::string_view name) {
    return (folder_.path() / name).string() + ": not a regular file: it is ";
  };
  EXPECT_EQ(content("pipe"), refused("pipe") + "a FIFO");
  EXPECT_EQ(content("sub"), refused("sub") + "a directory");
  EXPECT_EQ(content("."), refused(".") + "a directory");
  EXPECT_EQ(content("sub/.."), refused("sub/..") + "a directory");
  EXPECT_EQ(content("folder"), refused("folder") + "a directory");
  EXPECT_EQ(open("pipe", Access::kReadWrite).error().code(), ErrorCode::kUnsupported);
  const auto device = system_.open_beneath("/dev", "null", Access::kReadOnly);
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().message(), "/dev/null: not a regular file: it is a character device");
}

TEST_P(OpenBeneathTest, TheFolderMustBeOne) {
  const auto missing = system_.open_beneath(folder_.path() / "none", "x", Access::kReadOnly);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message(),
            (folder_.path() / "none").string() + ": No such file or directory");
  EXPECT_EQ(system_.open_beneath(folder_.path() / "disk.vmdk", "x", Access::kReadOnly)
                .error()
                .errno_value(),
            ENOTDIR);
}

TEST_P(OpenBeneathTest, NoFolderMeansTheCurrentOne) {
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder_.path());
  const auto file = system_.open_beneath("", "disk.vmdk", Access::kReadOnly);
  std::filesystem::current_path(before);
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ((*file)->name(), "disk.vmdk");
}

TEST_P(OpenBeneathTest, AFolderMovedOutMeanwhileIsNoWayOut) {
  // "deep" moves in and out of the folder while a name climbs up from it; there must be no moment
  // at which ".." leads to what lies beside the folder.
  const auto outer = folder_.outer().path();
  folder_.outer().write("disk.vmdk", "outside");
  folder_.outer().write("vm/sub/disk.vmdk", "disk");
  std::atomic<bool> stop{false};
  std::thread mover([&] {
    while (!stop) {
      std::filesystem::rename(folder_.path() / "sub/deep", outer / "deep");
      std::filesystem::rename(outer / "deep", folder_.path() / "sub/deep");
    }
  });
  int opened = 0;
  for (int i = 0; i < 20000; ++i) {
    const auto file = open(i % 2 == 0 ? "sub/deep/../disk.vmdk" : "sub/deep/../../disk.vmdk");
    if (!file)
      continue;
    ++opened;
    EXPECT_EQ(text_of(**file), "disk");
  }
  stop = true;
  mover.join();
  EXPECT_GT(opened, 0);
}

TEST(BeneathTest, KernelAndWalkGiveTheSameAnswers) {
  const BeneathFolder folder;
  const UniqueFd root(::open(folder.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (const auto probe = find_beneath_by_kernel(root.get(), "disk.vmdk"); !probe)
    GTEST_SKIP() << "openat2() does not work here: " << probe.error().message();
  const std::array<std::string, 16> pieces{
      "disk.vmdk", "sub",         "deep", "..",   ".",     "",       "link",  "short",
      "out",       "absolute-in", "up",   "gone", "slash", "parent", "loop1", "folder"};
  const auto answer = [](const Result<UniqueFd>& found) {
    struct stat st {};
    if (!found)
      return "errno " + std::to_string(found.error().errno_value());
    return ::fstat(found->get(), &st) == 0 ? "inode " + std::to_string(st.st_ino) : "no stat";
  };
  for (const auto& first : pieces) {
    for (const auto& second : pieces) {
      for (const auto& third : pieces) {
        for (const auto& name : {first, first + "/" + second, first + "/" + second + "/" + third})
          ASSERT_EQ(answer(find_beneath_by_walk(root.get(), name)),
                    answer(find_beneath_by_kernel(root.get(), name)))
              << name;
      }
    }
  }
}

// Makes openat2() fail with `err` in this process from now on.
bool forbid_openat2(int err) {
  const auto refusal = SECCOMP_RET_ERRNO | (static_cast<unsigned>(err) & SECCOMP_RET_DATA);
  std::array<sock_filter, 4> code{{
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_openat2},
      {BPF_RET | BPF_K, 0, 0, refusal},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  }};
  const sock_fprog program{code.size(), code.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST(BeneathTest, WithoutOpenat2TheWalkTakesOver) {
  constexpr int kNoFilter = 77;
  const BeneathFolder folder;
  for (const int err : {ENOSYS, EPERM, EAGAIN}) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      if (!forbid_openat2(err))
        ::_exit(kNoFilter);
      const UniqueFd root(::open(folder.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      const auto kernel = find_beneath_by_kernel(root.get(), "disk.vmdk");
      PosixFileSystem system;
      const auto inside = system.open_beneath(folder.path(), "link", Access::kReadOnly);
      const auto outside = system.open_beneath(folder.path(), "out", Access::kReadOnly);
      const bool right = !kernel && kernel.error().errno_value() == err && inside &&
                         text_of(**inside) == "disk" && !outside &&
                         outside.error().code() == ErrorCode::kDenied;
      ::_exit(right ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == kNoFilter)
      GTEST_SKIP() << "this system does not let a process filter its own system calls";
    EXPECT_EQ(WEXITSTATUS(status), 0) << "openat2() answering errno " << err;
  }
}

}  // namespace
}  // namespace vmdk
