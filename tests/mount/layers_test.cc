// Each link of the chain as a file of its own, on the real mount.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

class LayersTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped())
      return;
    create("base.vmdk");
    write_to("base.vmdk", "base", 0);
    write_to("base.vmdk", "base", 131072);
    create_child("base.vmdk", "middle.vmdk");
    write_to("middle.vmdk", "middle", 131072);
    create_child("middle.vmdk", "disk.vmdk");
    write_to("disk.vmdk", "top", 262144);
  }

  void create_child(const std::string& parent, const std::string& child) {
    vmdk::CreateOptions options;
    options.parent = path(parent);
    create(child, 0, options);
  }

  void write_to(const std::string& image, const std::string& text, int at) {
    ASSERT_TRUE(shell("touch w && " + shell_word(VMDKFUSE_PROGRAM) + " " + image + " w && printf " +
                      text + " | dd of=w bs=1 seek=" + std::to_string(at) +
                      " conv=notrunc status=none && " + shell_word(VMDKFUSE_PROGRAM) + " -u w"));
  }

  std::string text_at(const std::string& name, int at, int length) const {
    return shell_output("dd if=" + word(name) + " bs=1 skip=" + std::to_string(at) +
                        " count=" + std::to_string(length) + " status=none | tr '\\0' .");
  }
};

TEST_F(LayersTest, ShowTheDiskAsOfEachImage) {
  for (const std::string options : {"", "-r", "--cache=none", "--cache=writethrough"}) {
    mount_on_folder(options);
    EXPECT_EQ(shell_output("ls dir/layers"), "0-base\n1-middle\n2-disk") << options;
    EXPECT_EQ(text_at("dir/layers/0-base", 131072, 6), "base..");
    EXPECT_EQ(text_at("dir/layers/1-middle", 131072, 6), "middle");
    EXPECT_EQ(text_at("dir/layers/1-middle", 0, 4), "base");
    EXPECT_EQ(text_at("dir/layers/1-middle", 262144, 3), "...");
    EXPECT_EQ(text_at("dir/layers/2-disk", 262144, 3), "top");
    EXPECT_TRUE(shell("cmp dir/layers/2-disk dir/flat"));
    for (int layer = 0; layer < 3; ++layer)
      EXPECT_TRUE(shell(shell_word(VMDKCTL_PROGRAM) +
                        " cat --share --layer=" + std::to_string(layer) +
                        " disk.vmdk | cmp - dir/layers/" + std::to_string(layer) + "-*"));
    unmount("dir");
  }
}

TEST_F(LayersTest, CannotBeWrittenTo) {
  mount_on_folder();
  for (const std::string name : {"dir/layers/0-base", "dir/layers/2-disk"}) {
    EXPECT_EQ(open(path(name).c_str(), O_RDWR | O_CLOEXEC), -1);
    EXPECT_EQ(errno, getuid() == 0 ? EROFS : EACCES) << name;
    EXPECT_EQ(truncate(path(name).c_str(), 0), -1) << name;

    struct stat found {};

    ASSERT_EQ(stat(path(name).c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 0222U, 0U);
    EXPECT_EQ(found.st_size, static_cast<off_t>(kDiskSize));
  }
  EXPECT_NE(shell_status("touch dir/layers/new"), 0);
  EXPECT_NE(shell_status("rm -f dir/layers/0-base"), 0);
  unmount("dir");
}

// The kernel has nothing of the top layer that could be old, and the others stay as they are.
TEST_F(LayersTest, TheTopLayerIsTheDiskAsItIsNow) {
  mount_on_folder();
  EXPECT_EQ(text_at("dir/layers/2-disk", 262144, 3), "top");
  ASSERT_TRUE(shell("printf new | dd of=dir/flat bs=1 seek=262144 conv=notrunc,fsync status=none"));
  EXPECT_EQ(text_at("dir/layers/2-disk", 262144, 3), "new");
  EXPECT_EQ(text_at("dir/layers/1-middle", 262144, 3), "...");
  // An open older layer keeps nobody from writing.
  ASSERT_TRUE(
      shell("exec 3< dir/layers/0-base; head -c 4 <&3 > /dev/null; exec 4< dir/layers/2-disk; "
            "printf two | dd of=dir/flat bs=1 conv=notrunc status=none"));
  EXPECT_EQ(text_at("dir/layers/0-base", 0, 4), "base");
  EXPECT_EQ(text_at("dir/layers/2-disk", 0, 4), "twoe");
  unmount("dir");
}

TEST_F(LayersTest, HaveTheHolesOfTheirOwn) {
  mount_on_folder("-r");
  const auto data = [&](const std::string& name, off_t from) {
    const int fd = open(path(name).c_str(), O_RDONLY | O_CLOEXEC);
    const off_t found = lseek(fd, from, SEEK_DATA);
    close(fd);
    return found;
  };
  EXPECT_EQ(data("dir/layers/0-base", 4 * 65536), -1);
  EXPECT_EQ(data("dir/layers/2-disk", 4 * 65536), 262144);
  EXPECT_EQ(data("dir/layers/1-middle", 65536), 131072);
  unmount("dir");
}

TEST_F(LayersTest, AnOlderLayerThatIsShownIsTheLast) {
  mount_on_folder("-r --layer=1");
  EXPECT_EQ(shell_output("ls dir/layers"), "0-base\n1-middle");
  EXPECT_TRUE(shell("cmp dir/layers/1-middle dir/flat"));
  unmount("dir");
  mount_on_folder("--layers=off");
  EXPECT_EQ(shell_output("ls dir"), "flat");
  unmount("dir");
}

}  // namespace
}  // namespace vmdkfuse::test
