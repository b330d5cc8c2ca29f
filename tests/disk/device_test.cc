// Disks made of devices, on a file system whose devices are files beneath /dev.
#include <string>

#include <gtest/gtest.h>

#include <vmdk/disk.h>

#include "support/image_builder.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kSize = 64 * kKiB;

class DeviceTest : public testing::Test {
 protected:
  DeviceTest() {
    files_.put("/dev/sdx", std::string(kSize, 'x'));
    options_.allow_devices = true;
    options_.access = Access::kReadOnly;
    options_.commit_interval = {};
  }

  void describe(const std::string& type, std::vector<std::string> lines) {
    ASSERT_OK(build_descriptor(files_, "/vm/disk.vmdk",
                               {.create_type = type, .extent_lines = std::move(lines)}));
  }

  Result<std::unique_ptr<Disk>> open() { return Disk::open(files_, "/vm/disk.vmdk", options_); }

  std::string read(std::uint64_t at, std::size_t length) {
    auto disk = open();
    EXPECT_OK(disk);
    std::string text(length, '-');
    EXPECT_OK((*disk)->read(DiskOffset(at), std::as_writable_bytes(std::span(text))));
    return text;
  }

  MemoryFileSystem files_;
  OpenOptions options_;
};

TEST_F(DeviceTest, AWholeDeviceIsReadAndWritten) {
  describe("fullDevice", {extent_line("RW", kSize, "FLAT", "/dev/sdx", 0)});
  EXPECT_EQ(read(512, 4), "xxxx");
  options_.access = Access::kReadWrite;
  auto disk = open();
  ASSERT_OK(disk);
  const std::string text(512, 'y');
  ASSERT_OK((*disk)->write(DiskOffset(1024), std::as_bytes(std::span(text))));
  ASSERT_OK((*disk)->close());
  EXPECT_EQ(files_.text("/dev/sdx").substr(1023, 514), "x" + text + "x");
}

TEST_F(DeviceTest, PartitionsLieBetweenFilesAndZeros) {
  files_.put("/vm/disk-pt.vmdk", std::string(1024, 'p'));
  describe("partitionedDevice",
           {extent_line("RW", 1024, "FLAT", "disk-pt.vmdk", 0), extent_line("RW", 1024, "ZERO"),
            extent_line("RW", 2048, "FLAT", "/dev/sdx", 4096)});
  EXPECT_EQ(read(1020, 8), std::string("pppp\0\0\0\0", 8));
  EXPECT_EQ(read(2046, 4), std::string("\0\0xx", 4));
}

TEST_F(DeviceTest, AnotherSizeIsAnotherDevice) {
  describe("fullDevice", {extent_line("RW", kSize - 512, "FLAT", "/dev/sdx", 0)});
  EXPECT_THAT(open(), HasMessage("it may be another device"));
}

TEST_F(DeviceTest, IsRefusedUnlessAllowed) {
  describe("fullDevice", {extent_line("RW", kSize, "FLAT", "/dev/sdx", 0)});
  options_.allow_devices = false;
  EXPECT_THAT(open(), HasMessage("--allow-devices"));
  ASSERT_OK(files_.remove("/vm/disk.vmdk"));
  describe("custom", {extent_line("RW", kSize, "FLAT", "/dev/sdx", 0)});
  EXPECT_THAT(open(), HasMessage("--allow-devices"));
}

// What is there decides: files lie beneath /dev too.
TEST_F(DeviceTest, AFileInSharedMemoryIsNone) {
  for (const bool devices : {false, true}) {
    options_.allow_devices = devices;
    files_.put("/dev/shm/vm/disk-flat.vmdk", std::string(kSize, 'f'));
    ASSERT_OK(build_descriptor(
        files_, "/dev/shm/vm/disk.vmdk",
        {.create_type = "custom",
         .extent_lines = {extent_line("RW", kSize, "FLAT", "/dev/shm/vm/disk-flat.vmdk", 0),
                          extent_line("RW", kSize, "SPARSE", "/dev/shm/vm/s.vmdk")}}));
    SparseSpec sparse;
    sparse.capacity = kSize;
    sparse.descriptor.reset();
    ASSERT_OK(build_sparse(files_, "/dev/shm/vm/s.vmdk", sparse));
    EXPECT_OK(Disk::open(files_, "/dev/shm/vm/disk.vmdk", options_));
    // Outside the folder of its descriptor it is as any other file.
    describe("custom", {extent_line("RW", kSize, "FLAT", "/dev/shm/vm/disk-flat.vmdk", 0)});
    EXPECT_THAT(open(), HasMessage("it lies outside the image's folder"));
    for (const std::string& file : files_.files())
      ASSERT_OK(files_.remove(file));
  }
}

TEST_F(DeviceTest, GrainsOnADeviceAreRefused) {
  describe("custom", {extent_line("RW", kSize, "SPARSE", "/dev/../dev/sdx")});
  EXPECT_THAT(open(), HasMessage("grains on a device"));
}

TEST_F(DeviceTest, OtherPathsStayRefused) {
  files_.put("/etc/secret", std::string(kSize, 's'));
  for (const char* name : {"/etc/secret", "/dev/../etc/secret", "/devices/secret"}) {
    describe("fullDevice", {extent_line("RW", kSize, "FLAT", name, 0)});
    EXPECT_THAT(open(), HasMessage("it lies outside the image's folder")) << name;
    ASSERT_OK(files_.remove("/vm/disk.vmdk"));
  }
}

}  // namespace
}  // namespace vmdk::test
