// open_beneath(): nothing outside the folder is opened, by the kernel's lookup and by our own.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <string>

#include <gtest/gtest.h>

#include "beneath_folder.h"
#include "io/beneath.h"
#include "io/posix_file_system.h"

namespace vmdk {
namespace {

INSTANTIATE_TEST_SUITE_P(Lookups, OpenBeneathTest,
                         testing::Values(Lookup::kKernel, Lookup::kWalk, Lookup::kWithoutOpenat2),
                         [](const auto& tested) {
                           switch (tested.param) {
                             case Lookup::kKernel:
                               return "Kernel";
                             case Lookup::kWalk:
                               return "Walk";
                             case Lookup::kWithoutOpenat2:
                               break;
                           }
                           return "WithoutOpenat2";
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
  const auto device = open_in("/dev", "null");
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().message(), "/dev/null: not a regular file: it is a character device");
}

TEST_P(OpenBeneathTest, TheFolderMustBeOne) {
  const auto missing = open_in(folder_.path() / "none", "x");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message(),
            (folder_.path() / "none").string() + ": No such file or directory");
  EXPECT_EQ(open_in(folder_.path() / "disk.vmdk", "x").error().errno_value(), ENOTDIR);
}

TEST_P(OpenBeneathTest, NoFolderMeansTheCurrentOne) {
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder_.path());
  const auto file = open_in("", "disk.vmdk");
  std::filesystem::current_path(before);
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ((*file)->name(), "disk.vmdk");
}

// Links of /proc lead where their text does not say: to an open file, to the root.
TEST_P(OpenBeneathTest, MagicLinksAreNotFollowed) {
  const auto secret = folder_.outer() / "secret";
  const UniqueFd held(::open(secret.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(held);
  const std::string held_name = "fd/" + std::to_string(held.get());
  ASSERT_EQ(text_of(std::filesystem::path("/proc/self") / held_name), "secret");
  ASSERT_EQ(text_of("/proc/self/root" + secret.string()), "secret");
  for (const auto& name : {held_name, "task/../" + held_name, "root" + secret.string(),
                           std::string("exe"), std::string("cwd/.")}) {
    EXPECT_FALSE(open_in("/proc/self", name)) << name;
    EXPECT_FALSE(open_in("/proc", "self/" + name)) << name;
  }
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

TEST(BeneathTest, WithoutOpenat2TheWalkTakesOver) {
  const BeneathFolder folder;
  for (const int err : {ENOSYS, EPERM, EAGAIN}) {
    const bool filtered = test::with_failing_calls({{SYS_openat2, err}}, [&] {
      const UniqueFd root(::open(folder.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      const auto kernel = find_beneath_by_kernel(root.get(), "disk.vmdk");
      ASSERT_FALSE(kernel);
      PosixFileSystem system;
      const auto inside = system.open_beneath(folder.path(), "link", Access::kReadOnly);
      const auto outside = system.open_beneath(folder.path(), "out", Access::kReadOnly);
      EXPECT_EQ(kernel.error().errno_value(), err);
      ASSERT_TRUE(inside) << inside.error().message();
      EXPECT_EQ(text_of(**inside), "disk");
      ASSERT_FALSE(outside);
      EXPECT_EQ(outside.error().code(), ErrorCode::kDenied);
    });
    if (!filtered)
      GTEST_SKIP() << "this system does not let a process filter its own system calls";
  }
}

}  // namespace
}  // namespace vmdk
