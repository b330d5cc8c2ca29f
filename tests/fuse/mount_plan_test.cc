#include "vmdkfuse/mount_plan.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include <gtest/gtest.h>

#include "io/posix_file_system.h"
#include "support/matchers.h"
#include "support/temp_dir.h"
#include "vmdk/create.h"

namespace vmdkfuse {
namespace {

class MountPlanTest : public ::testing::Test {
 protected:
  void SetUp() override {
    image_ = dir_ / "a,b.vmdk";
    vmdk::CreateOptions create;
    create.capacity = vmdk::kMiB;
    ASSERT_OK(vmdk::create_image(files_, image_, create));
    std::filesystem::permissions(image_, std::filesystem::perms(0640));
    options_.arguments = {image_.string(), "flat"};
  }

  vmdk::Result<MountOptions> plan(vmdk::Access access = vmdk::Access::kReadWrite,
                                  bool directory = false) {
    vmdk::OpenOptions open;
    open.access = access;
    auto disk = vmdk::Disk::open(files_, image_, open);
    EXPECT_OK(disk);
    auto result = plan_mount(options_, {.path = "/mnt/flat", .directory = directory}, **disk, {});
    EXPECT_OK((*disk)->close());
    return result;
  }

  static bool has(const MountOptions& mount, const std::string& option) {
    return std::find(mount.mount_options.begin(), mount.mount_options.end(), option) !=
           mount.mount_options.end();
  }

  vmdk::test::TempDir dir_;
  vmdk::PosixFileSystem files_;
  std::filesystem::path image_;
  Options options_;
};

TEST_F(MountPlanTest, NamesTheImageWithCommasEscaped) {
  const auto mount = plan();
  ASSERT_OK(mount);
  EXPECT_TRUE(has(*mount, "fsname=" + dir_.path().string() + "/a\\,b.vmdk"));
  EXPECT_TRUE(has(*mount, "subtype=vmdkfuse"));
  EXPECT_TRUE(has(*mount, "default_permissions"));
  EXPECT_TRUE(has(*mount, "rw"));
}

TEST_F(MountPlanTest, ReadOnlyTakesWriteBitsAndTheWritebackCache) {
  const auto mount = plan(vmdk::Access::kReadOnly);
  ASSERT_OK(mount);
  EXPECT_EQ(mount->mode, 0440U);
  EXPECT_EQ(mount->cache, CacheMode::kWritethrough);
  EXPECT_TRUE(has(*mount, "ro"));
}

TEST_F(MountPlanTest, WritableMountsWriteBackAndKeepTheImagesMode) {
  const auto mount = plan();
  ASSERT_OK(mount);
  EXPECT_EQ(mount->mode, 0640U);
  EXPECT_EQ(mount->uid, getuid());
  EXPECT_EQ(mount->cache, CacheMode::kWriteback);
}

TEST_F(MountPlanTest, ASalvagedDiskIsNotWrittenBackUnlessAskedFor) {
  options_.salvage = true;
  options_.overlay = "over.vmdk";
  EXPECT_EQ(plan()->cache, CacheMode::kWritethrough);
  options_.cache = CacheChoice::kWriteback;
  EXPECT_EQ(plan()->cache, CacheMode::kWriteback);
}

TEST_F(MountPlanTest, OnlyRootOpensTheMountToOthersUnasked) {
  EXPECT_EQ(has(*plan(), "allow_other"), geteuid() == 0);
  options_.account = Account{"somebody", 61234, 61234, {61234}};
  EXPECT_TRUE(has(*plan(), "allow_other")) << "root has mounted";
  options_.account.reset();
  options_.mount_options = {"allow_root"};
  EXPECT_FALSE(has(*plan(), "allow_other"));
  EXPECT_TRUE(has(*plan(), "allow_root"));
}

TEST(DefaultThreadsTest, FourForEachCpuFromEightToSixtyFour) {
  EXPECT_EQ(default_threads(0), 8U);
  EXPECT_EQ(default_threads(2), 8U);
  EXPECT_EQ(default_threads(4), 16U);
  EXPECT_EQ(default_threads(100), 64U);
}

TEST_F(MountPlanTest, OverlaysInAFileAndInTheFolderForTemporaryFiles) {
  EXPECT_FALSE(plan_open(options_, {}).overlay);
  options_.overlay = "./tmp";
  const auto named = plan_open(options_, {}).overlay;
  ASSERT_TRUE(named);
  EXPECT_EQ(named->file, "./tmp");
  options_.overlay = "tmp";
  const auto scratch = plan_open(options_, {}).overlay;
  ASSERT_TRUE(scratch);
  EXPECT_EQ(scratch->file, "");
  EXPECT_EQ(scratch->scratch_dir, std::filesystem::temp_directory_path());
}

}  // namespace
}  // namespace vmdkfuse
