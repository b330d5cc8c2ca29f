// PosixFileSystem: what it opens and, more to the point, what it does not.
#include "io/posix_file_system.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/unique_fd.h"
#include "support/failing_calls.h"
#include "temp_folder.h"

namespace vmdk {
namespace {

class PosixFileSystemTest : public testing::Test {
 protected:
  // Expects the refusal of something that is no regular file.
  void expect_not_regular(const std::filesystem::path& path, std::string_view kind) {
    for (const auto access : {Access::kReadOnly, Access::kReadWrite}) {
      const auto file = system_.open(path, access);
      ASSERT_FALSE(file);
      EXPECT_EQ(file.error().code(), ErrorCode::kUnsupported);
      EXPECT_EQ(file.error().message(),
                path.string() + ": not a regular file: it is " + std::string(kind));
    }
  }

  using Kind = FileSystem::Kind;

  TempFolder folder_;
  PosixFileSystem system_;
};

// Runs `body` in a process of its own; true when it returned true.
template <class Body>
bool in_child(Body body) {
  const pid_t child = ::fork();
  if (child == 0)
    ::_exit(body() ? 0 : 1);
  int status = -1;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST_F(PosixFileSystemTest, OpensForReadingAndForWriting) {
  const auto path = folder_.write("disk.vmdk", "data");
  const auto reader = system_.open(path, Access::kReadOnly);
  ASSERT_TRUE(reader) << reader.error().message();
  EXPECT_EQ(text_of(**reader), "data");
  const auto writer = system_.open(path, Access::kReadWrite);
  ASSERT_TRUE(writer) << writer.error().message();
  ASSERT_TRUE(write_text(**writer, 1, "e"));
  EXPECT_EQ(text_of(**reader), "deta");
}

TEST_F(PosixFileSystemTest, OpenFollowsTheUsersLinksWherever) {
  TempFolder elsewhere;
  std::filesystem::create_symlink(elsewhere.write("disk.vmdk", "data"), folder_ / "link");
  const auto file = system_.open(folder_ / "link", Access::kReadOnly);
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ(text_of(**file), "data");
  EXPECT_EQ((*file)->name(), (folder_ / "link").string());
}

TEST_F(PosixFileSystemTest, OpenSaysWhatIsMissing) {
  const auto path = folder_ / "none.vmdk";
  const auto file = system_.open(path, Access::kReadOnly);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(file.error().errno_value(), ENOENT);
  EXPECT_EQ(file.error().message(), path.string() + ": No such file or directory");
}

TEST_F(PosixFileSystemTest, OpenWithoutPermissionIsDenied) {
  const auto path = folder_.write("disk.vmdk", "data");
  std::filesystem::permissions(folder_.path(), std::filesystem::perms(0755));
  std::filesystem::permissions(path, std::filesystem::perms(0444));
  EXPECT_TRUE(in_child([&] {
    if (::getuid() == 0 && ::setuid(65534) != 0)
      return false;
    const auto writer = system_.open(path, Access::kReadWrite);
    return system_.open(path, Access::kReadOnly).has_value() && !writer &&
           writer.error().code() == ErrorCode::kDenied && writer.error().errno_value() == EACCES &&
           writer.error().message() == path.string() + ": Permission denied";
  }));
}

TEST_F(PosixFileSystemTest, OpenDoesNotWaitForAFifo) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  expect_not_regular(folder_ / "pipe", "a FIFO");
  std::filesystem::create_symlink("pipe", folder_ / "link");
  expect_not_regular(folder_ / "link", "a FIFO");
}

TEST_F(PosixFileSystemTest, OpenRefusesAllButRegularFiles) {
  expect_not_regular(folder_.path(), "a directory");
  expect_not_regular("/dev/null", "a character device");
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto path = folder_ / "socket";
  ASSERT_LT(path.native().size(), sizeof address.sun_path);
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  void* const general = &address;
  ASSERT_EQ(::bind(socket.get(), static_cast<sockaddr*>(general), sizeof address), 0);
  expect_not_regular(path, "a socket");
}

TEST_F(PosixFileSystemTest, OpenRefusesABlockDevice) {
  if (::mknod((folder_ / "loop").c_str(), S_IFBLK | 0600, makedev(7, 999)) != 0)
    GTEST_SKIP() << "making a block device node needs root: " << std::strerror(errno);
  expect_not_regular(folder_ / "loop", "a block device");
}

TEST_F(PosixFileSystemTest, NamesWithANulAreNotCutShort) {
  folder_.write("disk.vmdk", "data");
  const std::string name("disk.vmdk\0.txt", 14);
  EXPECT_EQ(system_.open(folder_ / name, Access::kReadOnly).error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(system_.open_beneath(folder_.path(), name, Access::kReadOnly).error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(system_.create(folder_ / std::string("new\0.txt", 8)).error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(system_.remove(folder_ / name).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(text_of(folder_ / "disk.vmdk"), "data");
}

TEST_F(PosixFileSystemTest, WithoutProcTheMessageSaysSo) {
  if (::getuid() != 0)
    GTEST_SKIP() << "a root without /proc (chroot) needs root";
  folder_.write("disk.vmdk", "data");
  EXPECT_TRUE(in_child([&] {
    if (::chroot(folder_.path().c_str()) != 0 || ::chdir("/") != 0)
      return false;
    const auto file = system_.open("/disk.vmdk", Access::kReadOnly);
    return !file && file.error().message() == "/disk.vmdk: cannot be opened: /proc is not mounted";
  }));
}

TEST_F(PosixFileSystemTest, WithoutProcAHiddenFileGetsItsNameAllTheSame) {
  if (::getuid() != 0)
    GTEST_SKIP() << "a root without /proc (chroot) needs root";
  EXPECT_TRUE(in_child([&] {
    if (::chroot(folder_.path().c_str()) != 0 || ::chdir("/") != 0)
      return false;
    const auto file = system_.create_hidden("/new.vmdk");
    return file && write_text(**file, 0, "whole") && system_.kind("/new.vmdk") == Kind::kNothing &&
           (*file)->reveal();
  }));
  EXPECT_EQ(text_of(folder_ / "new.vmdk"), "whole");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1);
}

TEST_F(PosixFileSystemTest, NoDescriptorReachesAProgramThatIsStarted) {
  const auto path = folder_.write("disk.vmdk", "data");
  const auto opened = system_.open(path, Access::kReadWrite);
  const auto beneath = system_.open_beneath(folder_.path(), "disk.vmdk", Access::kReadOnly);
  const auto walked = PosixFileSystem(BeneathLookup::kWalk)
                          .open_beneath(folder_.path(), "disk.vmdk", Access::kReadOnly);
  const auto created = system_.create(folder_ / "new.vmdk");
  ASSERT_TRUE(opened && beneath && walked && created);
  int ours = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const auto target = std::filesystem::read_symlink(entry, gone).string();
    if (target.rfind(folder_.path().string(), 0) != 0)
      continue;
    ++ours;
    EXPECT_NE(::fcntl(std::stoi(entry.path().filename()), F_GETFD) & FD_CLOEXEC, 0) << target;
  }
  EXPECT_EQ(ours, 4);  // and none of the lookups is left over
}

TEST_F(PosixFileSystemTest, CreateMakesAnEmptyFileWithTheUsualPermissions) {
  const mode_t before = ::umask(027);
  const auto file = system_.create(folder_ / "new.vmdk");
  ::umask(before);
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ((*file)->permissions(), 0640U);
  EXPECT_EQ((*file)->size().value(), 0U);
  ASSERT_TRUE(write_text(**file, 0, "data"));
  EXPECT_EQ(text_of(**file), "data");
}

TEST_F(PosixFileSystemTest, CreateLeavesWhatExistsAlone) {
  const auto path = folder_.write("disk.vmdk", "data");
  std::filesystem::create_symlink("nowhere", folder_ / "dangling");
  for (const auto& name : {path, folder_ / "dangling"}) {
    const auto file = system_.create(name);
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().errno_value(), EEXIST);
    EXPECT_EQ(file.error().message(), name.string() + ": File exists");
  }
  EXPECT_EQ(text_of(path), "data");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "nowhere"));
}

TEST_F(PosixFileSystemTest, AFileWithoutANameIsSeenByNobody) {
  const auto file = system_.create_unnamed(folder_.path());
  ASSERT_TRUE(file) << file.error().message();
  ASSERT_TRUE(write_text(**file, 0, "secret"));
  EXPECT_EQ(text_of(**file), "secret");
  EXPECT_EQ((*file)->permissions(), 0600U);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
  EXPECT_TRUE((*file)->lock(LockMode::kWrite));
  EXPECT_EQ(system_.create_unnamed(folder_ / "missing").error().errno_value(), ENOENT);
}

// From here on this process finds no file system that can link, or rename without replacing.
bool forbid_links() {
  return test::fail_system_calls({{SYS_renameat2, EINVAL}, {SYS_link, EPERM}, {SYS_linkat, EPERM}});
}

TEST_F(PosixFileSystemTest, AHiddenFileGetsItsNameWhereNothingCanBeLinked) {
  const auto path = folder_ / "disk.vmdk";
  EXPECT_TRUE(in_child([&] {
    PosixFileSystem hiding(BeneathLookup::kAutomatic, HidingPlace::kOtherName);
    const auto first = hiding.create_hidden(path);
    const auto second = hiding.create_hidden(path);
    return first && second && forbid_links() && (*first)->lock(LockMode::kWrite) &&
           write_text(**first, 0, "first") && (*first)->reveal() &&
           (*second)->reveal().error().errno_value() == EEXIST;
  }));
  EXPECT_EQ(text_of(path), "first");
}

class HiddenFileTest : public PosixFileSystemTest,
                       public ::testing::WithParamInterface<HidingPlace> {
 protected:
  std::size_t files_in_folder() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(folder_.path()), {}));
  }

  PosixFileSystem hiding_{BeneathLookup::kAutomatic, GetParam()};
};

TEST_P(HiddenFileTest, AppearsWholeAndLocked) {
  const auto path = folder_ / "disk.vmdk";
  auto file = hiding_.create_hidden(path);
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ((*file)->name(), path.native());
  ASSERT_TRUE((*file)->lock(LockMode::kWrite));
  ASSERT_TRUE(write_text(**file, 0, "whole"));
  ASSERT_TRUE((*file)->sync());
  EXPECT_FALSE(std::filesystem::exists(path));
  ASSERT_TRUE((*file)->reveal());
  EXPECT_EQ(text_of(path), "whole");
  EXPECT_EQ(files_in_folder(), 1U);
  const auto other = system_.open(path, Access::kReadWrite);
  ASSERT_TRUE(other);
  EXPECT_EQ((*other)->lock(LockMode::kWrite).error().code(), ErrorCode::kBusy);
  EXPECT_EQ((*file)->reveal().error().errno_value(), EINVAL) << "only once";
  EXPECT_EQ((*file)->permissions(), (*system_.create(folder_ / "plain"))->permissions());
  file->reset();
  EXPECT_EQ(text_of(path), "whole");
}

TEST_P(HiddenFileTest, ReplacesNothing) {
  const auto path = folder_ / "disk.vmdk";
  {
    const auto file = hiding_.create_hidden(path);
    ASSERT_TRUE(file) << file.error().message();
    folder_.write("disk.vmdk", "another's");
    EXPECT_EQ((*file)->reveal().error().errno_value(), EEXIST);
    EXPECT_EQ((*file)->reveal().error().errno_value(), EEXIST);
  }
  EXPECT_EQ(text_of(path), "another's");
  EXPECT_EQ(files_in_folder(), 1U);
  std::filesystem::create_symlink("nowhere", folder_ / "dangling");
  EXPECT_EQ(hiding_.create_hidden(path).error().errno_value(), EEXIST);
  EXPECT_EQ(hiding_.create_hidden(folder_ / "dangling").error().errno_value(), EEXIST);
  EXPECT_EQ(hiding_.create_hidden(folder_ / "missing/disk").error().errno_value(), ENOENT);
}

TEST_P(HiddenFileTest, LeavesNothingWhenItIsGivenUp) {
  { ASSERT_TRUE(hiding_.create_hidden(folder_ / "disk.vmdk")); }
  EXPECT_EQ(files_in_folder(), 0U);
  const auto plain = system_.create(folder_ / "plain");
  ASSERT_TRUE(plain);
  EXPECT_EQ((*plain)->reveal().error().errno_value(), EINVAL) << "it has its name";
}

TEST_P(HiddenFileTest, TakesThePlaceOfAnotherWholeAndLocked) {
  const auto path = folder_ / "disk.vmdk";
  folder_.write("disk.vmdk", "old");
  ASSERT_EQ(::chmod(path.c_str(), 0604), 0);
  const auto old = system_.open(path, Access::kReadOnly);
  ASSERT_TRUE(old);
  auto file = hiding_.create_successor(path);
  ASSERT_TRUE(file) << file.error().message();
  ASSERT_TRUE((*file)->lock(LockMode::kWrite));
  ASSERT_TRUE(write_text(**file, 0, "new"));
  EXPECT_EQ(text_of(path), "old");
  ASSERT_TRUE((*file)->take_place_of(**old));
  EXPECT_EQ(text_of(path), "new");
  EXPECT_EQ(files_in_folder(), 1U);
  const auto other = system_.open(path, Access::kReadWrite);
  ASSERT_TRUE(other);
  EXPECT_EQ((*other)->permissions(), 0604U);
  EXPECT_EQ((*other)->id(), (*file)->id());
  EXPECT_EQ((*other)->lock(LockMode::kWrite).error().code(), ErrorCode::kBusy);
  EXPECT_EQ((*file)->take_place_of(**old).error().errno_value(), EINVAL) << "only once";
  EXPECT_EQ((*file)->reveal().error().errno_value(), EINVAL);
}

TEST_P(HiddenFileTest, TakesNoPlaceThatIsAnothers) {
  const auto path = folder_ / "disk.vmdk";
  folder_.write("disk.vmdk", "old");
  const auto old = system_.open(path, Access::kReadOnly);
  ASSERT_TRUE(old);
  {
    const auto file = hiding_.create_successor(path);
    ASSERT_TRUE(file);
    std::filesystem::rename(path, folder_ / "away");
    EXPECT_EQ((*file)->take_place_of(**old).error().errno_value(), ENOENT);
    folder_.write("disk.vmdk", "another's");
    EXPECT_EQ((*file)->take_place_of(**old).error().code(), ErrorCode::kBusy);
    std::filesystem::rename(folder_ / "away", path);
    std::filesystem::create_hard_link(path, folder_ / "second");
    EXPECT_EQ((*file)->take_place_of(**old).error().code(), ErrorCode::kUnsupported);
  }
  EXPECT_EQ(text_of(path), "old");
  EXPECT_EQ(files_in_folder(), 2U) << "what did not get the name is gone";
}

INSTANTIATE_TEST_SUITE_P(Places, HiddenFileTest,
                         ::testing::Values(HidingPlace::kAutomatic, HidingPlace::kOtherName));

TEST_F(PosixFileSystemTest, RemoveTakesTheNameAway) {
  const auto path = folder_.write("disk.vmdk", "data");
  ASSERT_TRUE(system_.remove(path));
  EXPECT_FALSE(std::filesystem::exists(path));
  const auto again = system_.remove(path);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), ErrorCode::kNotFound);
  EXPECT_FALSE(system_.remove(folder_.path()));
  EXPECT_TRUE(std::filesystem::exists(folder_.path()));
}

TEST_F(PosixFileSystemTest, SyncDirectoryTakesFoldersOnly) {
  EXPECT_TRUE(system_.sync_directory(folder_.path()));
  EXPECT_TRUE(system_.sync_directory(""));  // the folder of a bare file name
  EXPECT_EQ(system_.sync_directory(folder_ / "none").error().errno_value(), ENOENT);
  EXPECT_EQ(system_.sync_directory(folder_.write("file", "")).error().errno_value(), ENOTDIR);
}

TEST_F(PosixFileSystemTest, ListGivesAllNamesButTheDots) {
  folder_.write("b.vmdk", "");
  folder_.write(".hidden", "");
  folder_.write("sub/inner", "");
  auto names = system_.list(folder_.path()).value();
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{".hidden", "b.vmdk", "sub"}));
  EXPECT_EQ(system_.list("").value().size(), system_.list(".").value().size());
  EXPECT_EQ(system_.list(folder_ / "none").error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(system_.list(folder_ / "b.vmdk").error().errno_value(), ENOTDIR);
}

TEST_F(PosixFileSystemTest, KindLooksThroughLinks) {
  folder_.write("file", "");
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  std::filesystem::create_symlink("file", folder_ / "link");
  std::filesystem::create_symlink("none", folder_ / "dangling");
  EXPECT_EQ(system_.kind(folder_ / "file"), Kind::kFile);
  EXPECT_EQ(system_.kind(folder_ / "link"), Kind::kFile);
  EXPECT_EQ(system_.kind(folder_.path()), Kind::kDirectory);
  EXPECT_EQ(system_.kind(folder_ / "pipe"), Kind::kOther);
  EXPECT_EQ(system_.kind("/dev/null"), Kind::kOther);
  EXPECT_EQ(system_.kind(folder_ / "none"), Kind::kNothing);
  EXPECT_EQ(system_.kind(folder_ / "dangling"), Kind::kNothing);
  EXPECT_EQ(system_.kind(folder_ / "file/below"), Kind::kNothing);
}

}  // namespace
}  // namespace vmdk
