// Extended attributes of the files, and what they cost.
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

class AttributesTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped())
      create();
  }

  // The value; nothing where there is none, with errno.
  std::string attribute(const std::string& file, const std::string& name) const {
    std::vector<char> value(4096);
    const ssize_t length =
        getxattr(path(file).c_str(), ("user.vmdkfuse." + name).c_str(), value.data(), value.size());
    return length < 0 ? "" : std::string(value.data(), static_cast<std::size_t>(length));
  }

  std::string listed(const std::string& file) const {
    std::vector<char> names(4096);
    const ssize_t length = listxattr(path(file).c_str(), names.data(), names.size());
    EXPECT_GE(length, 0) << file;
    return length < 0 ? "" : std::string(names.data(), static_cast<std::size_t>(length));
  }

  // Beneath a child that was written to, with a partition.
  void make_chain() {
    vmdk::CreateOptions options;
    options.parent = path("disk.vmdk");
    create("child.vmdk", 0, options);
    ASSERT_TRUE(shell("touch w && " + shell_word(VMDKFUSE_PROGRAM) +
                      " child.vmdk w && printf 'label: dos\\nsize=1M\\n' | "
                      "PATH=$PATH:/sbin:/usr/sbin sfdisk -q w && " +
                      shell_word(VMDKFUSE_PROGRAM) + " -u w"));
  }

  // Of the image, as another program tells it.
  std::string content_id(const std::string& image) const {
    return shell_output("grep -a -m1 ^CID= " + image + " | cut -d= -f2");
  }
};

TEST_F(AttributesTest, TellWhatAFileMountIs) {
  mount("-r");
  EXPECT_EQ(attribute("flat", "format"), "monolithicSparse");
  EXPECT_EQ(attribute("flat", "size"), std::to_string(kDiskSize));
  EXPECT_EQ(attribute("flat", "cid"), content_id("disk.vmdk"));
  EXPECT_EQ(attribute("flat", "layers"), "1");
  EXPECT_EQ(listed("flat"),
            std::string("user.vmdkfuse.format\0user.vmdkfuse.size\0user.vmdkfuse.cid\0"
                        "user.vmdkfuse.layers\0user.vmdkfuse.stats\0",
                        99));
  unmount();
}

TEST_F(AttributesTest, FiguresAreThoseOfNow) {
  mount("--cache=none");
  EXPECT_NE(attribute("flat", "stats").find("\nwrites 0\n"), std::string::npos);
  ASSERT_TRUE(shell("dd if=/dev/zero of=flat bs=64k count=3 conv=notrunc status=none"));
  EXPECT_NE(attribute("flat", "stats").find("\nwrites 3\nwrittenBytes 196608\n"), std::string::npos)
      << attribute("flat", "stats");
  unmount();
}

// The first write gives the image a new one.
TEST_F(AttributesTest, TheContentIdIsThatOfNow) {
  mount();
  const std::string before = attribute("flat", "cid");
  ASSERT_TRUE(shell("printf new | dd of=flat conv=notrunc,fsync status=none"));
  EXPECT_NE(attribute("flat", "cid"), before);
  EXPECT_EQ(attribute("flat", "cid"), content_id("disk.vmdk"));
  unmount();
}

TEST_F(AttributesTest, EachFileOfADirectoryTellsOfItself) {
  NEEDS_PROGRAM("sfdisk");
  make_chain();
  ASSERT_TRUE(shell("mkdir dir && " + shell_word(VMDKFUSE_PROGRAM) + " -r child.vmdk dir"));
  EXPECT_EQ(attribute("dir/flat", "size"), std::to_string(kDiskSize));
  EXPECT_EQ(attribute("dir/flat", "layers"), "2");
  EXPECT_EQ(attribute("dir/flat", "cid"), content_id("child.vmdk"));
  EXPECT_EQ(attribute("dir/flat1", "size"), std::to_string(vmdk::kMiB));
  EXPECT_EQ(attribute("dir/flat1", "cid"), content_id("child.vmdk"));
  EXPECT_EQ(attribute("dir/layers/0-disk", "cid"), content_id("disk.vmdk"));
  EXPECT_EQ(attribute("dir/layers/0-disk", "layers"), "1");
  EXPECT_EQ(attribute("dir/layers/1-child", "layers"), "2");
  EXPECT_EQ(attribute("dir/flat1", "stats").substr(0, 8), "seconds ");
  for (const std::string file : {"dir", "dir/layers", "dir/.vmdkfuse", "dir/.vmdkfuse/stats"}) {
    EXPECT_EQ(listed(file), "") << file;
    EXPECT_EQ(attribute(file, "size"), "");
    EXPECT_EQ(errno, ENODATA) << file;
  }
  unmount("dir");
}

TEST_F(AttributesTest, AreReadOnlyAndNoOthers) {
  mount();
  const std::string flat = path("flat");
  char small = 0;
  EXPECT_EQ(getxattr(flat.c_str(), "user.vmdkfuse.format", nullptr, 0), 16);
  EXPECT_EQ(getxattr(flat.c_str(), "user.vmdkfuse.format", &small, 1), -1);
  EXPECT_EQ(errno, ERANGE);
  EXPECT_EQ(listxattr(flat.c_str(), nullptr, 0), 99);
  EXPECT_EQ(listxattr(flat.c_str(), &small, 1), -1);
  EXPECT_EQ(errno, ERANGE);
  for (const char* name : {"user.vmdkfuse", "user.other", "security.capability"}) {
    EXPECT_EQ(getxattr(flat.c_str(), name, nullptr, 0), -1);
    EXPECT_EQ(errno, ENODATA) << name;
  }
  for (const char* name : {"user.vmdkfuse.size", "user.other"}) {
    EXPECT_EQ(setxattr(flat.c_str(), name, "1", 1, 0), -1);
    EXPECT_EQ(errno, EOPNOTSUPP) << name;
    EXPECT_EQ(removexattr(flat.c_str(), name), -1);
    EXPECT_EQ(errno, EOPNOTSUPP) << name;
  }
  EXPECT_EQ(attribute("flat", "size"), std::to_string(kDiskSize)) << "refusals end nothing";
  unmount();
}

// The kernel wants to know of `security.capability` before it writes: once, not at every write(2).
TEST_F(AttributesTest, WritesBringNoQuestions) {
  constexpr int kWrites = 1024;
  for (const std::string cache : {"writeback", "writethrough", "none"}) {
    SCOPED_TRACE(cache);
    start("-d --cache=" + cache + " disk.vmdk flat");
    ASSERT_EQ(attribute("flat", "layers"), "1") << "there are attributes";
    const int file = open(path("flat").c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_GE(file, 0);
    const std::string block(4096, 'w');
    for (int i = 0; i < kWrites; ++i)
      ASSERT_EQ(pwrite(file, block.data(), block.size(), i * 4096), 4096);
    close(file);
    end(0);
    const int questions = std::stoi(shell_output("grep -c GETXATTR messages || true"));
    EXPECT_GE(questions, 1) << "they are in the trace";
    EXPECT_LE(questions, 12);
    ASSERT_TRUE(shell("rm messages"));
  }
}

}  // namespace
}  // namespace vmdkfuse::test
