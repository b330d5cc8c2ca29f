// Page cache, direct I/O, mapping, holes.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

// An open file of the test.
class OpenFile {
 public:
  OpenFile(const std::filesystem::path& path, int flags)
      : fd_(open(path.c_str(), flags | O_CLOEXEC)) {
    EXPECT_GE(fd_, 0) << path << ": " << std::strerror(errno);
  }

  ~OpenFile() { close(fd_); }

  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int get() const { return fd_; }

 private:
  int fd_;
};

// Page-aligned, for O_DIRECT.
class AlignedBytes {
 public:
  explicit AlignedBytes(std::size_t size, char fill)
      : size_(size), bytes_(static_cast<char*>(std::aligned_alloc(4096, size)), &std::free) {
    std::memset(bytes_.get(), fill, size);
  }

  char* data() { return bytes_.get(); }

  std::size_t size() const { return size_; }

  bool all(char value) const {
    return std::all_of(bytes_.get(), bytes_.get() + size_, [&](char c) { return c == value; });
  }

 private:
  std::size_t size_;
  std::unique_ptr<char, decltype(&std::free)> bytes_;
};

class CacheTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped())
      create();
  }

  std::string text_at(off_t at, std::size_t length) const {
    const OpenFile file(path("flat"), O_RDONLY);
    std::string text(length, '\0');
    EXPECT_EQ(pread(file.get(), text.data(), length, at), static_cast<ssize_t>(length));
    return text;
  }
};

TEST_F(CacheTest, DirectWritesAreSeenByCachedReadersAndTheReverse) {
  mount();
  {
    const OpenFile writer(path("flat"), O_RDWR | O_DIRECT);
    AlignedBytes bytes(1 << 20, 'd');
    EXPECT_EQ(pwrite(writer.get(), bytes.data(), bytes.size(), 0), 1 << 20);
    EXPECT_EQ(text_at(4096, 4), "dddd");  // opened beside the direct writer
  }
  EXPECT_EQ(text_at(4096, 4), "dddd");  // through the page cache
  {
    const OpenFile writer(path("flat"), O_RDWR | O_DIRECT);
    AlignedBytes bytes(4096, 'n');
    EXPECT_EQ(pwrite(writer.get(), bytes.data(), bytes.size(), 4096), 4096);
  }
  EXPECT_EQ(text_at(4096, 4), "nnnn") << "pages from before the direct write were kept";
  {
    const OpenFile cached(path("flat"), O_RDWR);
    EXPECT_EQ(pwrite(cached.get(), "cccc", 4, 4096), 4);
    const OpenFile direct(path("flat"), O_RDONLY | O_DIRECT);
    AlignedBytes bytes(4096, 0);
    EXPECT_EQ(pread(direct.get(), bytes.data(), bytes.size(), 4096), 4096);
    EXPECT_EQ(std::string(bytes.data(), 5), "ccccn");
  }
  unmount();
}

TEST_F(CacheTest, DdWithDirectFlagsCopiesTheDisk) {
  make_reference("ref");
  mount();
  EXPECT_TRUE(shell("dd if=ref of=flat bs=1M oflag=direct"));
  EXPECT_TRUE(shell("dd if=flat of=copy bs=1M iflag=direct && cmp ref copy"));
  EXPECT_TRUE(shell("cmp ref flat"));
  unmount();
}

TEST_F(CacheTest, SecondReadAsksTheDaemonForNothing) {
  NEEDS_PROGRAM("strace");
  make_reference("ref");
  mount();
  ASSERT_TRUE(shell("cp ref flat && cat flat > /dev/null"));
  ASSERT_TRUE(shell("timeout 2 strace -f -e trace=pread64,preadv,preadv2 -o trace -p " +
                    std::to_string(daemon()) +
                    " & tracer=$!; sleep 0.7; cat flat > /dev/null; cmp ref flat; wait $tracer; "
                    "test -f trace"));
  EXPECT_EQ(shell_output("grep -c pread trace"), "0");
  unmount();
}

TEST_F(CacheTest, SharedMappingReachesTheImage) {
  mount();
  {
    const OpenFile file(path("flat"), O_RDWR);
    void* memory = mmap(nullptr, kDiskSize, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    ASSERT_NE(memory, MAP_FAILED);
    std::memset(static_cast<char*>(memory) + 100'000, 'm', 50'000);
    EXPECT_EQ(msync(memory, kDiskSize, MS_SYNC), 0);
    munmap(memory, kDiskSize);
  }
  unmount();
  mount("-r");
  EXPECT_EQ(text_at(100'000, 50'000), std::string(50'000, 'm'));
  EXPECT_EQ(text_at(99'999, 1), std::string(1, '\0'));
}

TEST_F(CacheTest, ReadingWorksBesideAWriteOnlyHandle) {
  mount();
  const OpenFile file(path("flat"), O_WRONLY);
  // Part of a page: the kernel has to read the rest of it through this handle.
  EXPECT_EQ(pwrite(file.get(), "abc", 3, 10'000), 3);
  EXPECT_EQ(fsync(file.get()), 0);
  EXPECT_EQ(text_at(9'999, 5), std::string("\0abc\0", 5));
}

class HoleTest : public CacheTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    CacheTest::SetUp();
    if (!IsSkipped())
      mount(std::string("--cache=") + GetParam());
  }
};

TEST_P(HoleTest, UnwrittenDirtyDataIsNeverHidden) {
  const OpenFile writer(path("flat"), O_RDWR);
  ASSERT_EQ(pwrite(writer.get(), "dirty", 5, 5 * 1024 * 1024), 5);
  EXPECT_TRUE(shell("cp --sparse=always flat copy && cmp flat copy"));
  EXPECT_EQ(shell_output("dd if=copy bs=1 skip=5242880 count=5 2>/dev/null"), "dirty");
  EXPECT_TRUE(
      shell("tar -Scf t.tar flat && rm -rf x && mkdir x && tar -xf t.tar -C x && "
            "cmp x/flat flat"));
  EXPECT_EQ(lseek(writer.get(), 0, SEEK_DATA), 0);
  EXPECT_EQ(lseek(writer.get(), 0, SEEK_HOLE), static_cast<off_t>(kDiskSize));
}

TEST_P(HoleTest, MappedDirtyDataIsNeverHidden) {
  const OpenFile file(path("flat"), O_RDWR);
  void* memory = mmap(nullptr, kDiskSize, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (std::string(GetParam()) == "none" && memory == MAP_FAILED) {
    // Past the page cache a file can be mapped only where libfuse knows how to allow it.
    EXPECT_EQ(errno, ENODEV);
    return;
  }
  ASSERT_NE(memory, MAP_FAILED);
  std::memcpy(static_cast<char*>(memory) + 3'000'000, "mapped", 6);
  EXPECT_TRUE(shell("cp --sparse=always flat copy"));
  EXPECT_EQ(shell_output("dd if=copy bs=1 skip=3000000 count=6 2>/dev/null"), "mapped");
  munmap(memory, kDiskSize);
}

TEST_P(HoleTest, HolesAreExactWhenNobodyWrites) {
  {
    const OpenFile writer(path("flat"), O_RDWR);
    ASSERT_EQ(pwrite(writer.get(), "x", 1, 4 * 1024 * 1024), 1);
  }
  const OpenFile reader(path("flat"), O_RDONLY);
  ASSERT_TRUE(eventually([&] { return lseek(reader.get(), 0, SEEK_DATA) == 4 * 1024 * 1024; }))
      << lseek(reader.get(), 0, SEEK_DATA);
  EXPECT_EQ(lseek(reader.get(), 4 * 1024 * 1024, SEEK_HOLE), 4 * 1024 * 1024 + 65536);
  EXPECT_EQ(lseek(reader.get(), 0, SEEK_HOLE), 0);
  EXPECT_EQ(lseek(reader.get(), 5 * 1024 * 1024, SEEK_DATA), -1);
  EXPECT_EQ(errno, ENXIO);
  EXPECT_EQ(lseek(reader.get(), static_cast<off_t>(kDiskSize), SEEK_HOLE), -1);
  EXPECT_EQ(errno, ENXIO);
}

TEST_P(HoleTest, PunchedRangesReadAsZerosAndGiveSpaceBack) {
  ASSERT_TRUE(shell("head -c 8M /dev/zero | tr '\\0' p > flat && sync flat"));
  const OpenFile file(path("flat"), O_RDWR);
  ASSERT_EQ(fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1'000'000, 3'000'000),
            0)
      << std::strerror(errno);
  EXPECT_EQ(text_at(999'999, 1), "p");
  EXPECT_EQ(text_at(1'000'000, 3'000'000), std::string(3'000'000, '\0'));
  EXPECT_EQ(text_at(4'000'000, 1), "p");
  ASSERT_EQ(fsync(file.get()), 0);
  EXPECT_TRUE(eventually([&] {
    struct stat found {};
    return fstat(file.get(), &found) == 0 && found.st_blocks <= 6 * 2048;
  }));
  // What comes later takes that space, sooner or later: a stream would rather have a long piece.
  // Without that it would be 24 MiB more.
  AlignedBytes later(2 * vmdk::kMiB, 'l');
  constexpr off_t kAt = 1 << 20;
  for (int round = 0; round < 12; ++round) {
    ASSERT_EQ(fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kAt, 2 << 20), 0);
    ASSERT_EQ(fsync(file.get()), 0);
    ASSERT_EQ(pwrite(file.get(), later.data(), later.size(), kAt), 2 << 20);
    ASSERT_EQ(fsync(file.get()), 0);
  }
  EXPECT_LE(size_of(path("disk.vmdk")), 2 * kDiskSize);
  EXPECT_EQ(text_at(1048576, 2 * vmdk::kMiB), std::string(2 * vmdk::kMiB, 'l'));
  EXPECT_EQ(text_at(4'000'000, 1), "p");
}

TEST_P(HoleTest, ZeroRangeReadsAsZeros) {
  ASSERT_TRUE(shell("head -c 8M /dev/zero | tr '\\0' p > flat"));
  const OpenFile file(path("flat"), O_RDWR);
  ASSERT_EQ(fallocate(file.get(), FALLOC_FL_ZERO_RANGE, 70'000, 200'000), 0)
      << std::strerror(errno);
  ASSERT_EQ(fallocate(file.get(), FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 1 << 20, 512), 0);
  EXPECT_EQ(text_at(69'999, 1), "p");
  EXPECT_EQ(text_at(70'000, 200'000), std::string(200'000, '\0'));
  EXPECT_EQ(text_at(270'000, 1), "p");
  EXPECT_EQ(text_at(1 << 20, 512), std::string(512, '\0'));
}

TEST_P(HoleTest, FallocateStaysInsideTheDisk) {
  const OpenFile file(path("flat"), O_RDWR);
  const auto end = static_cast<off_t>(kDiskSize);
  // Preallocation would promise what a commit may have to refuse.
  EXPECT_EQ(fallocate(file.get(), 0, 0, 65536), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
  EXPECT_EQ(fallocate(file.get(), FALLOC_FL_KEEP_SIZE, 0, 65536), -1);
  EXPECT_EQ(errno, EOPNOTSUPP);
  EXPECT_EQ(fallocate(file.get(), FALLOC_FL_ZERO_RANGE, end - 4096, 8192), -1);
  EXPECT_EQ(errno, EFBIG);
  EXPECT_EQ(fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, end - 4096, 1 << 20),
            0);
  EXPECT_EQ(size_of(path("flat")), kDiskSize);
}

INSTANTIATE_TEST_SUITE_P(CacheModes, HoleTest,
                         ::testing::Values("writeback", "writethrough", "none"),
                         [](const auto& mode) { return std::string(mode.param); });

TEST_F(CacheTest, PunchOverAParentIsRefusedAndChangesNothing) {
  make_reference("ref");
  mount();
  ASSERT_TRUE(shell("cp ref flat"));
  unmount();
  ASSERT_TRUE(shell("mv disk.vmdk base.vmdk"));
  vmdk::CreateOptions options;
  options.parent = path("base.vmdk");
  create("disk.vmdk", 0, options);
  mount();
  {
    const OpenFile file(path("flat"), O_RDWR);
    EXPECT_EQ(fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 20), -1);
    EXPECT_EQ(errno, EOPNOTSUPP);
    EXPECT_TRUE(shell("cmp ref flat"));
    EXPECT_EQ(fallocate(file.get(), FALLOC_FL_ZERO_RANGE, 0, 1 << 20), 0) << std::strerror(errno);
  }
  EXPECT_EQ(text_at(0, 1 << 20), std::string(1 << 20, '\0'));
  unmount();
}

}  // namespace
}  // namespace vmdkfuse::test
