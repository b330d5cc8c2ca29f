// What the mount looks like: names, owner, permissions, times, sizes, and the way it is listed.
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <utime.h>

#include <cerrno>
#include <ctime>
#include <filesystem>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

struct stat stat_of(const std::filesystem::path& path) {
  struct stat found {};

  EXPECT_EQ(stat(path.c_str(), &found), 0) << path;
  return found;
}

TEST_F(MountTest, FileMountShowsTheDiskItself) {
  create();
  mount();
  const struct stat found = stat_of(path("flat"));
  EXPECT_TRUE(S_ISREG(found.st_mode));
  EXPECT_EQ(found.st_size, static_cast<off_t>(kDiskSize));
  EXPECT_EQ(found.st_blksize, 65536);
  unmount();
  EXPECT_EQ(size_of(path("flat")), 0U) << "the file beneath the mount must stay as it was";
}

TEST_F(MountTest, FolderMountShowsFlatAndLayersAndNothingElse) {
  create();
  mount_on_folder();
  EXPECT_EQ(shell_output("ls -A dir"), ".vmdkfuse\nflat\nlayers");
  EXPECT_EQ(size_of(path("dir/flat")), kDiskSize);
  EXPECT_NE(shell_status("touch dir/other"), 0);
  EXPECT_NE(shell_status("rm -f dir/flat"), 0);
  EXPECT_NE(shell_status("mkdir dir/sub"), 0);
  EXPECT_EQ(shell_output("ls -A dir"), ".vmdkfuse\nflat\nlayers");
  unmount("dir");
}

TEST_F(MountTest, TimeIsTheImagesBeforeTheFirstOpen) {
  create();
  const utimbuf times{.actime = 1'000'000'000, .modtime = 1'000'000'000};
  ASSERT_EQ(utime(path("disk.vmdk").c_str(), &times), 0);
  mount();
  EXPECT_EQ(stat_of(path("flat")).st_mtim.tv_sec, 1'000'000'000);
  unmount();
  mount_on_folder();
  EXPECT_EQ(stat_of(path("dir/flat")).st_mtim.tv_sec, 1'000'000'000);
  unmount("dir");
}

TEST_F(MountTest, WritingMovesTheTimeInEveryCacheMode) {
  create();
  for (const std::string cache : {"writeback", "writethrough", "none"}) {
    const utimbuf times{.actime = 1'000'000'000, .modtime = 1'000'000'000};
    ASSERT_EQ(utime(path("disk.vmdk").c_str(), &times), 0);
    mount("--cache=" + cache);
    const std::time_t before = std::time(nullptr);
    ASSERT_TRUE(shell("dd if=/dev/urandom of=flat bs=4k count=1 conv=notrunc,fsync"));
    EXPECT_TRUE(eventually([&] { return stat_of(path("flat")).st_mtim.tv_sec >= before - 1; }))
        << cache;
    ASSERT_TRUE(shell("touch -d @1200000000 flat"));
    EXPECT_EQ(stat_of(path("flat")).st_mtim.tv_sec, 1'200'000'000) << cache;
    unmount();
  }
}

TEST_F(MountTest, PermissionsAreTheImagesAndOwnerIsWhoMounts) {
  create();
  ASSERT_EQ(chmod(path("disk.vmdk").c_str(), 0640), 0);
  mount();
  struct stat found = stat_of(path("flat"));
  EXPECT_EQ(found.st_mode & 07777U, 0640U);
  EXPECT_EQ(found.st_uid, getuid());
  EXPECT_EQ(chmod(path("flat").c_str(), 0666), -1);
  EXPECT_EQ(errno, EPERM);
  unmount();
  mount("-r");
  EXPECT_EQ(stat_of(path("flat")).st_mode & 07777U, 0440U);
  unmount();
  mount("--uid=1234 --gid=5678 --mode=0604");
  found = stat_of(path("flat"));
  EXPECT_EQ(found.st_uid, 1234U);
  EXPECT_EQ(found.st_gid, 5678U);
  EXPECT_EQ(found.st_mode & 07777U, 0604U);
  unmount();
  mount_on_folder();
  EXPECT_EQ(stat_of(path("dir")).st_mode & 07777U, 0550U);
  unmount("dir");
}

TEST_F(MountTest, BlocksAreNeverZeroWhereTheDiskCanBeWritten) {
  create("disk.vmdk", 64 * vmdk::kMiB);
  mount();
  EXPECT_GT(stat_of(path("flat")).st_blocks, 0);
  EXPECT_LT(stat_of(path("flat")).st_blocks, 2048);
  ASSERT_TRUE(shell("dd if=/dev/urandom of=flat bs=1M count=16 conv=notrunc,fsync"));
  EXPECT_TRUE(eventually([&] { return stat_of(path("flat")).st_blocks >= 16 * 2048; }))
      << stat_of(path("flat")).st_blocks;
  unmount();
}

TEST_F(MountTest, StatfsTellsTheGrain) {
  vmdk::CreateOptions options;
  options.grain_size = 32 * vmdk::kKiB;
  create("disk.vmdk", kDiskSize, options);
  mount();

  struct statvfs found {};

  ASSERT_EQ(statvfs(path("flat").c_str(), &found), 0);
  EXPECT_EQ(found.f_bsize, 32 * vmdk::kKiB);
  EXPECT_EQ(found.f_blocks * found.f_frsize, kDiskSize);
  unmount();
}

TEST_F(MountTest, MountTableNamesImageAndProgram) {
  std::filesystem::create_directory(path("a, b"));
  create("a, b/disk.vmdk");
  std::filesystem::create_symlink(path("a, b/disk.vmdk"), path("disk.vmdk"));
  ASSERT_TRUE(shell("touch flat"));
  const CommandResult result = vmdkfuse("--pid-file=pid -r 'a, b/disk.vmdk' flat");
  ASSERT_EQ(result.status, 0) << result.to_text();
  EXPECT_EQ(shell_output("findmnt -n -o FSTYPE,SOURCE --target flat"),
            "fuse.vmdkfuse " + path("a, b/disk.vmdk").string());
  EXPECT_EQ(shell_output("findmnt -n -o OPTIONS --target flat").substr(0, 3), "ro,");
  unmount();
}

TEST_F(MountTest, ReadOnlyMountChangesNothing) {
  create();
  make_reference("ref");
  mount();
  ASSERT_TRUE(shell("cp ref flat"));
  unmount();
  const std::string before = shell_output("sha256sum disk.vmdk; stat -c '%Y %Z %s' disk.vmdk");
  mount("-r");
  EXPECT_TRUE(shell("cmp ref flat"));
  EXPECT_NE(shell_status("dd if=ref of=flat bs=4k count=1 conv=notrunc"), 0);
  EXPECT_NE(shell_status("> flat"), 0);
  EXPECT_NE(shell_status("touch flat"), 0);
  unmount();
  EXPECT_EQ(shell_output("sha256sum disk.vmdk; stat -c '%Y %Z %s' disk.vmdk"), before);
}

TEST_F(MountTest, WritableMountWithoutWritesChangesNothing) {
  create();
  const std::string before = shell_output("sha256sum disk.vmdk; stat -c '%Y %s' disk.vmdk");
  mount();
  EXPECT_TRUE(shell("cat flat > /dev/null"));
  EXPECT_TRUE(shell("> flat"));
  unmount();
  EXPECT_EQ(shell_output("sha256sum disk.vmdk; stat -c '%Y %s' disk.vmdk"), before);
}

TEST_F(MountTest, ListShowsImageModeMountpointAndProcess) {
  create();
  mount();
  const std::string line = path("disk.vmdk").string() + "  rw  " + path("flat").string() + "  " +
                           std::to_string(daemon()) + "\n";
  EXPECT_NE(vmdkfuse("--list").out.find(line), std::string::npos) << vmdkfuse("--list").out;
  const std::string json = vmdkfuse("--list --json").out;
  EXPECT_NE(json.find("\"mountpoint\": \"" + path("flat").string() + "\""), std::string::npos);
  EXPECT_NE(json.find("\"pid\": " + std::to_string(daemon())), std::string::npos);
  unmount();
  EXPECT_EQ(vmdkfuse("--list").out.find(path("").string()), std::string::npos);
}

}  // namespace
}  // namespace vmdkfuse::test
