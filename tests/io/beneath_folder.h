// A folder with files and links, and the ways to look a name up in it.
#pragma once

#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "io/posix_file_system.h"
#include "support/failing_calls.h"
#include "temp_folder.h"

namespace vmdk {

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

// Who looks a name up.
enum class Lookup {
  kKernel,
  kWalk,            // what the kernel's way falls back to, asked for by itself
  kWithoutOpenat2,  // the kernel's way where the system call is missing, as before Linux 5.6
};

class OpenBeneathTest : public testing::TestWithParam<Lookup> {
 protected:
  void SetUp() override {
    if (!in_mode([] {}))
      GTEST_SKIP() << "this system does not let a process filter its own system calls";
  }

  // Runs `body` where names are looked up as the parameter says.
  template <class Body>
  static bool in_mode(Body body) {
    if (GetParam() == Lookup::kWithoutOpenat2)
      return test::with_failing_calls({{SYS_openat2, ENOSYS}}, body);
    body();
    return true;
  }

  Result<std::unique_ptr<File>> open_in(const std::filesystem::path& folder,
                                        const std::filesystem::path& relative,
                                        Access access = Access::kReadOnly) {
    Result<std::unique_ptr<File>> file(Error::make(ErrorCode::kIo, "not tried"));
    in_mode([&] { file = system_.open_beneath(folder, relative, access); });
    return file;
  }

  Result<std::unique_ptr<File>> open(const std::filesystem::path& relative,
                                     Access access = Access::kReadOnly) {
    return open_in(folder_.path(), relative, access);
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
  PosixFileSystem system_{GetParam() == Lookup::kWalk ? BeneathLookup::kWalk
                                                      : BeneathLookup::kAutomatic};
};

}  // namespace vmdk
