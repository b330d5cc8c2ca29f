// The partitions of a disk as files beside it, on the real mount.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

class OpenFile {
 public:
  OpenFile(const std::filesystem::path& path, int flags)
      : fd_(open(path.c_str(), flags | O_CLOEXEC)), errno_(errno) {}

  ~OpenFile() {
    if (fd_ >= 0)
      close(fd_);
  }

  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int get() const { return fd_; }

  // 0: it is open.
  int error() const { return fd_ >= 0 ? 0 : errno_; }

 private:
  int fd_;
  int errno_;
};

constexpr const char* kTable =
    "printf 'label: dos\\nsize=2M\\nsize=16M,type=f\\nsize=1M\\nsize=4M\\nsize=2M\\nsize=3M\\n' | "
    "PATH=$PATH:/sbin:/usr/sbin sfdisk -q ";

class PartitionFilesTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped())
      return;
    NEEDS_PROGRAM("sfdisk");
    create("disk.vmdk", 32 * vmdk::kMiB);
  }

  // Of a disk with kTable, mounted on `dir`.
  void mount_with_table(const std::string& options = "") {
    mount_on_folder();
    ASSERT_TRUE(shell(std::string(kTable) + "dir/flat"));
    if (options.empty())
      return;
    unmount("dir");
    mount_on_folder(options);
  }

  std::string listing() const { return shell_output("ls dir | grep flat | tr '\\n' ' '"); }

  std::string text_at(const std::string& name, off_t at, std::size_t length) const {
    const OpenFile file(path(name), O_RDONLY);
    std::string text(length, '\0');
    EXPECT_EQ(pread(file.get(), text.data(), length, at), static_cast<ssize_t>(length)) << name;
    return text;
  }
};

TEST_F(PartitionFilesTest, NamesAreThoseThatFdiskPrints) {
  NEEDS_PROGRAM("fdisk");
  mount_with_table();
  EXPECT_EQ(shell_output("PATH=$PATH:/sbin:/usr/sbin; LC_ALL=C fdisk -l -o Device dir/flat | "
                         "grep '^dir/flat' | sort"),
            shell_output("ls -d dir/flat?* | sort"));
  EXPECT_EQ(listing(), "flat flat1 flat2 flat3 flat4 flat5 flat6 ");
  EXPECT_EQ(size_of(path("dir/flat6")), 3 * vmdk::kMiB);
  unmount("dir");
}

TEST_F(PartitionFilesTest, OptionLeavesTheDiskAlone) {
  mount_with_table("--partitions=off");
  EXPECT_EQ(listing(), "flat ");
  unmount("dir");
}

TEST_F(PartitionFilesTest, ShowTheBytesOfTheDiskInEveryCacheMode) {
  for (const std::string cache : {"writeback", "writethrough", "none"}) {
    mount_with_table("--cache=" + cache);
    make_reference("p", 3 * vmdk::kMiB);
    const std::string begin = shell_output(
        "PATH=$PATH:/sbin:/usr/sbin; echo $(($(sfdisk -q -o Device,Start -l dir/flat | "
        "grep flat6 | awk '{print $2}') * 512))");
    ASSERT_TRUE(shell("dd if=p of=dir/flat6 bs=100k conv=notrunc status=none")) << cache;
    EXPECT_TRUE(shell("cmp p dir/flat6")) << cache;
    EXPECT_TRUE(shell("cmp -n 3145728 p dir/flat 0 " + begin)) << cache;
    // The other way round, over pages that the kernel has of flat6.
    ASSERT_TRUE(shell("printf from-flat | dd of=dir/flat bs=1 oflag=seek_bytes seek=" + begin +
                      " conv=notrunc status=none"))
        << cache;
    EXPECT_EQ(text_at("dir/flat6", 0, 9), "from-flat") << cache;
    unmount("dir");
    EXPECT_EQ(
        shell_output(shell_word(VMDKCTL_PROGRAM) + " cat --partition=6 disk.vmdk | head -c 9"),
        "from-flat");
  }
}

TEST_F(PartitionFilesTest, EndWhereThePartitionEnds) {
  for (const std::string cache : {"writeback", "writethrough", "none"}) {
    mount_with_table("--cache=" + cache);
    EXPECT_NE(shell_status("dd if=/dev/urandom of=dir/flat5 bs=1M count=3 conv=notrunc,fsync"), 0)
        << cache;
    EXPECT_TRUE(eventually([&] { return size_of(path("dir/flat5")) == 2 * vmdk::kMiB; })) << cache;
    EXPECT_TRUE(shell("tail -c 2M dir/flat3 > /dev/null && test $(wc -c < dir/flat5) = 2097152"));
    EXPECT_EQ(text_at("dir/flat6", 0, 4), std::string(4, '\0')) << "the next one was written to";
    unmount("dir");
  }
}

TEST_F(PartitionFilesTest, WritersAndCachedViewsShutEachOtherOut) {
  mount_with_table();
  {
    const OpenFile reader(path("dir/flat1"), O_RDONLY);
    EXPECT_EQ(OpenFile(path("dir/flat"), O_RDWR).error(), EBUSY);
    EXPECT_EQ(OpenFile(path("dir/flat5"), O_RDWR).error(), 0);
    EXPECT_EQ(OpenFile(path("dir/flat2"), O_RDWR).error(), 0);
  }
  const OpenFile writer(path("dir/flat"), O_RDWR);
  ASSERT_EQ(writer.error(), 0);
  EXPECT_EQ(OpenFile(path("dir/flat1"), O_RDWR).error(), EBUSY);
  EXPECT_EQ(OpenFile(path("dir/flat1"), O_RDONLY).error(), 0);
  EXPECT_EQ(OpenFile(path("dir/flat2"), O_RDWR).error(), EBUSY);
}

TEST_F(PartitionFilesTest, ReadersBesideAWriterSeeWhatIsSynced) {
  mount_with_table();
  ASSERT_EQ(text_at("dir/flat1", 4096, 3), std::string(3, '\0'));  // the kernel has the page
  {
    const OpenFile writer(path("dir/flat"), O_RDWR);
    ASSERT_EQ(pwrite(writer.get(), "new", 3, 1048576 + 4096), 3);
    ASSERT_EQ(fsync(writer.get()), 0);
    EXPECT_EQ(text_at("dir/flat1", 4096, 3), "new");
    ASSERT_EQ(pwrite(writer.get(), "end", 3, 1048576 + 4096), 3);
  }
  EXPECT_EQ(text_at("dir/flat1", 4096, 3), "end");
  unmount("dir");
}

TEST_F(PartitionFilesTest, MappedPagesAreWrittenBeforeAnotherViewIsRead) {
  mount_with_table();
  {
    const OpenFile writer(path("dir/flat1"), O_RDWR);
    void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, writer.get(), 0);
    ASSERT_NE(memory, MAP_FAILED);
    std::memcpy(memory, "mapped", 6);
    munmap(memory, 4096);
  }
  EXPECT_EQ(text_at("dir/flat", 1048576, 6), "mapped");
  unmount("dir");
}

TEST_F(PartitionFilesTest, HolesOfAPartitionAreItsOwn) {
  mount_with_table();
  ASSERT_TRUE(shell("printf x | dd of=dir/flat3 bs=1 conv=notrunc status=none"));
  EXPECT_TRUE(eventually([&] {
    const OpenFile file(path("dir/flat1"), O_RDONLY);
    return lseek(file.get(), 0, SEEK_DATA) == -1 && errno == ENXIO;
  }));
  {
    const OpenFile file(path("dir/flat1"), O_RDONLY);
    EXPECT_EQ(lseek(file.get(), 5000, SEEK_HOLE), 5000);
    const OpenFile other(path("dir/flat3"), O_RDONLY);
    EXPECT_EQ(lseek(other.get(), 0, SEEK_DATA), 0);
    EXPECT_EQ(lseek(other.get(), 0, SEEK_HOLE), 65536);
  }
  {
    // Under pages that the kernel has of one view, another one shows no hole.
    const OpenFile writer(path("dir/flat1"), O_RDWR);
    const OpenFile reader(path("dir/flat"), O_RDONLY);
    EXPECT_EQ(lseek(reader.get(), 1048576, SEEK_DATA), 1048576);
  }
  unmount("dir");
}

TEST_F(PartitionFilesTest, ANewTableIsThereWhenItIsClosed) {
  mount_on_folder();
  EXPECT_EQ(listing(), "flat ");
  EXPECT_NE(shell_status("cat dir/flat1"), 0) << "the kernel knows that there is none";
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(shell(std::string(kTable) +
                      "dir/flat && test $(wc -c < dir/flat6) = 3145728 && echo > dir/flat1"));
    ASSERT_TRUE(
        shell("printf 'label: gpt\\nsize=4M\\n' | PATH=$PATH:/sbin:/usr/sbin sfdisk -q "
              "-w always -W always dir/flat && test \"$(ls dir | grep flat | tr '\\n' ' ')\" = "
              "'flat flat1 ' && test $(wc -c < dir/flat1) = 4194304"));
  }
  unmount("dir");
}

TEST_F(PartitionFilesTest, APartitionThatIsOpenStaysAsItWas) {
  mount_with_table();
  const OpenFile writer(path("dir/flat"), O_RDWR);  // makes readers direct
  const OpenFile old(path("dir/flat6"), O_RDONLY);
  ASSERT_EQ(old.error(), 0);
  std::string zeros(512, '\0');
  ASSERT_EQ(pwrite(writer.get(), zeros.data(), zeros.size(), 0), 512);
  // What close(2) of another descriptor does, while this one goes on.
  close(dup(writer.get()));
  EXPECT_EQ(listing(), "flat ");
  EXPECT_EQ(pread(old.get(), zeros.data(), 512, 3 * 1048576 - 512), 512);
  EXPECT_EQ(pread(old.get(), zeros.data(), 512, 3 * 1048576), 0);
}

TEST_F(PartitionFilesTest, NonsenseIsAWarningAndFlat) {
  mount_on_folder();
  ASSERT_TRUE(
      shell("printf '\\125\\252' | dd of=dir/flat bs=1 seek=510 conv=notrunc status=none; "
            "printf '\\356\\377\\377\\377\\001' | dd of=dir/flat bs=1 seek=450 conv=notrunc "
            "status=none"));
  unmount("dir");
  const CommandResult result = vmdkfuse("--pid-file=pid disk.vmdk dir");
  EXPECT_EQ(result.status, 0) << result.to_text();
  EXPECT_NE(result.err.find("neither copy of it is sound"), std::string::npos) << result.to_text();
  EXPECT_EQ(listing(), "flat ");
  unmount("dir");
}

TEST_F(PartitionFilesTest, ReadOnlyMountsKeepAllInTheCache) {
  mount_with_table("-r");
  const OpenFile one(path("dir/flat"), O_RDONLY);
  const OpenFile two(path("dir/flat1"), O_RDONLY);
  void* const memory = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, two.get(), 0);
  EXPECT_NE(memory, MAP_FAILED);
  munmap(memory, 4096);
  EXPECT_EQ(OpenFile(path("dir/flat1"), O_RDWR).error(), EROFS);
}

TEST_F(PartitionFilesTest, AFileSystemInAPartitionIsMountedByALoopDevice) {
  NEEDS_PROGRAM("mkfs.ext4");
  mount_with_table();
  ASSERT_TRUE(shell("PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q dir/flat4"));
  const auto loop = attach_loop("dir/flat4");
  if (!loop)
    GTEST_SKIP() << "this system has no loop device to give";
  std::filesystem::create_directory(path("mnt"));
  ASSERT_TRUE(shell("head -c 1M /dev/urandom > data; mount " + *loop +
                    " mnt && cp data mnt/file && umount mnt; s=$?; losetup -d " + *loop +
                    "; exit $s"));
  ASSERT_TRUE(eventually([&] { return !shell_status("! losetup -l | grep -q " + word("dir")); }));
  EXPECT_TRUE(
      shell("PATH=$PATH:/sbin:/usr/sbin; fsck.ext4 -fn dir/flat4 && "
            "debugfs -R 'cat file' dir/flat4 | cmp - data"));
  unmount("dir");
}

}  // namespace
}  // namespace vmdkfuse::test
