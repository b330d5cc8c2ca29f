// vmdkctl compact, with QEMU as a second reader.
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <vmdk/disk.h>

#include "interop/copy_fixture.h"
#include "io/posix_file_system.h"
#include "support/image_builder.h"
#include "support/matchers.h"

namespace vmdk::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

class CompactVerbTest : public CopyTest {
 protected:
  // 24 grains with data, then 16 of them discarded and 4 overwritten with zeros.
  void make_worn(const std::string& image, const std::string& words = "") const {
    expect_done("\"$V\" create " + words + " " + image + " 16M");
    PosixFileSystem file_system;
    ASSERT_OK_AND_ASSIGN(const auto disk, Disk::open(file_system, path(image), {}));
    const std::vector<std::byte> data(24 * kGrain, std::byte{0x42});
    ASSERT_OK(disk->write(DiskOffset(kGrain), data));
    ASSERT_OK(disk->flush());
    ASSERT_OK(disk->discard(DiskOffset(2 * kGrain), 16 * kGrain));
    const std::vector<std::byte> zeros(4 * kGrain);
    ASSERT_OK(disk->write(DiskOffset(20 * kGrain), zeros));
    ASSERT_OK(disk->close());
  }

  // 100 grains with a block of data each, at another place every time.
  void make_hollow(const std::string& image) const {
    constexpr std::uint64_t kBlock = 4 * kKiB;
    expect_done("\"$V\" create " + image + " 16M");
    PosixFileSystem file_system;
    ASSERT_OK_AND_ASSIGN(const auto disk, Disk::open(file_system, path(image), {}));
    const std::vector<std::byte> block(kBlock, std::byte{0x42});
    for (std::uint64_t i = 0; i < 100; ++i)
      ASSERT_OK(disk->write(DiskOffset(i * kGrain + i % 15 * kBlock), block));
    ASSERT_OK(disk->close());
  }

  std::uint64_t allocated(const std::string& name) const {
    struct stat st {};

    EXPECT_EQ(::stat(path(name).c_str(), &st), 0);
    return static_cast<std::uint64_t>(st.st_blocks) * 512;
  }

  static constexpr std::uint64_t kGrain = 64 * kKiB;
};

TEST_F(CompactVerbTest, OnlyGrainsInUseStayAndTheDiskDoesToo) {
  make_worn("disk.vmdk");
  expect_done("\"$V\" convert --type=raw disk.vmdk before");
  const CommandResult done = vmdkctl("compact disk.vmdk");
  EXPECT_EQ(done.status, 0) << done.to_text();
  EXPECT_THAT(done.out, HasSubstr("disk.vmdk: "));
  const json info = json::parse(vmdkctl("check --json disk.vmdk").out);
  EXPECT_EQ(info["allocatedGrains"], 4);
  EXPECT_EQ(info["unusedBytes"], 0);
  // Overhead of a disk of 16 MiB: one grain.
  const double wanted = 5 * kGrain;
  EXPECT_LE(fs::file_size(path("disk.vmdk")), wanted * 1.01);
  EXPECT_LE(allocated("disk.vmdk"), wanted * 1.01);
  expect_done("\"$V\" compare --raw=b disk.vmdk before");
  expect_done("qemu-img compare -f vmdk -F raw disk.vmdk before");
  expect_done("qemu-img check disk.vmdk");
  expect_done("\"$V\" check disk.vmdk");
}

// A grain of which little was written is mostly a hole of the file.
TEST_F(CompactVerbTest, HolesWithinGrainsStay) {
  make_hollow("disk.vmdk");
  const std::uint64_t before = allocated("disk.vmdk");
  expect_done("\"$V\" convert --type=raw disk.vmdk raw");
  expect_done("\"$V\" compact disk.vmdk");
  EXPECT_LE(allocated("disk.vmdk"), before);
  EXPECT_EQ(fs::file_size(path("disk.vmdk")), 101 * kGrain);
  expect_done("\"$V\" compare --raw=b disk.vmdk raw");
  expect_done("\"$V\" check disk.vmdk");
  expect_done("qemu-img compare -f vmdk -F raw disk.vmdk raw");
}

TEST_F(CompactVerbTest, OwnerPermissionsAttributesAndLinksStay) {
  make_worn("disk.vmdk");
  ASSERT_EQ(::chmod(path("disk.vmdk").c_str(), 0640), 0);
  const bool root = ::geteuid() == 0;
  if (root)
    ASSERT_EQ(::chown(path("disk.vmdk").c_str(), 12, 34), 0);
  const bool attributes = ::setxattr(path("disk.vmdk").c_str(), "user.note", "kept", 4, 0) == 0;
  fs::create_symlink("disk.vmdk", path("link.vmdk"));
  const auto before = fs::file_size(path("disk.vmdk"));
  expect_done("\"$V\" compact link.vmdk");
  EXPECT_TRUE(fs::is_symlink(path("link.vmdk")));
  EXPECT_LT(fs::file_size(path("disk.vmdk")), before);

  struct stat st {};

  ASSERT_EQ(::stat(path("disk.vmdk").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777U, 0640U);
  if (root) {
    EXPECT_EQ(st.st_uid, 12U);
    EXPECT_EQ(st.st_gid, 34U);
  }
  char value[8] = {};
  if (attributes)
    EXPECT_EQ(::getxattr(path("disk.vmdk").c_str(), "user.note", value, sizeof value), 4);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 2) << "nothing else is left";
}

TEST_F(CompactVerbTest, AFileWithTwoNamesIsRefused) {
  make_worn("disk.vmdk");
  fs::create_hard_link(path("disk.vmdk"), path("other.vmdk"));
  const std::string before = load("disk.vmdk");
  const CommandResult refused = vmdkctl("compact disk.vmdk");
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("has 2 names (hard links)"));
  EXPECT_EQ(load("disk.vmdk"), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 2);
  EXPECT_EQ(vmdkctl("compact --to=small.vmdk disk.vmdk").status, 0);
}

TEST_F(CompactVerbTest, SnapshotsOfTheImageStayReadable) {
  make_worn("base.vmdk");
  expect_done("\"$V\" snapshot base.vmdk child.vmdk");
  expect_done("\"$V\" convert --type=raw child.vmdk before");
  expect_done("\"$V\" compact base.vmdk");
  expect_done("\"$V\" compare --raw=b child.vmdk before");
  expect_done("qemu-img compare -f vmdk -F raw child.vmdk before");
}

TEST_F(CompactVerbTest, ASnapshotKeepsTheZerosThatHideItsParent) {
  make_worn("base.vmdk");
  for (const std::string words : {"", "--zeroed-grains"}) {
    expect_done("rm -f child.vmdk; \"$V\" snapshot " + words + " base.vmdk child.vmdk");
    // Zeros over data of the base, and over its holes.
    expect_done(
        "qemu-io -f vmdk -c 'write -P 0 1536k 128k' -c 'write -P 0 8M 1M' "
        "-c 'write -P 7 5M 64k' child.vmdk");
    expect_done("rm -f before; \"$V\" convert --type=raw child.vmdk before");
    expect_done("\"$V\" compact child.vmdk");
    expect_done("\"$V\" compare --raw=b child.vmdk before");
    expect_done("qemu-img compare -f vmdk -F raw child.vmdk before");
    const json check = json::parse(vmdkctl("check --json child.vmdk").out);
    EXPECT_EQ(check["verdict"], "clean");
    // What hides data of the base stays a grain where no entry can say so.
    EXPECT_LE(check["layers"][1]["allocatedGrains"], words.empty() ? 3 : 1) << words;
    expect_done("\"$V\" compact --to=copy.vmdk child.vmdk");
    expect_done("\"$V\" compare --raw=b copy.vmdk before; rm copy.vmdk");
  }
}

TEST_F(CompactVerbTest, ASnapshotMadeElsewhereIsTold) {
  make_worn("base.vmdk");
  expect_done("\"$V\" snapshot base.vmdk child.vmdk; mkdir away");
  EXPECT_EQ(vmdkctl("compact --to=copy.vmdk child.vmdk").err, "");
  const CommandResult away = vmdkctl("compact --to=away/copy.vmdk child.vmdk");
  EXPECT_EQ(away.status, 0) << away.to_text();
  EXPECT_THAT(away.err, HasSubstr("its parent is outside its folder"));
  EXPECT_EQ(vmdkctl("compact --to=away/alone.vmdk base.vmdk").err, "");
}

// Its descriptor has room for itself alone, in the new layout for more, so that tables lie further
// apart.
TEST_F(CompactVerbTest, AFileThatWouldBecomeLargerStays) {
  PosixFileSystem file_system;
  SparseSpec spec;
  spec.capacity = 64 * kMiB;
  spec.descriptor_size = kSectorSize;
  for (const std::uint64_t index : {0U, 600U}) {
    GrainSpec grain;
    grain.index = index;
    grain.data.assign(kGrain, std::byte{0x42});
    spec.grains.push_back(grain);
  }
  ASSERT_OK(build_sparse(file_system, path("disk.vmdk"), spec));
  const std::string bytes = load("disk.vmdk");
  const std::uint64_t before = allocated("disk.vmdk");
  const CommandResult done = vmdkctl("compact disk.vmdk");
  EXPECT_EQ(done.status, 0) << done.to_text();
  EXPECT_LE(allocated("disk.vmdk"), before);
  EXPECT_TRUE(load("disk.vmdk") == bytes) << "it was to stay";
  const json report = json::parse(vmdkctl("compact --json disk.vmdk").out);
  EXPECT_EQ(report["bytesAfter"], report["bytesBefore"]);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()), 1);
}

TEST_F(CompactVerbTest, SplitImagesAndNewNames) {
  make_worn("disk.vmdk", "--type=twoGbMaxExtentSparse");
  expect_done("\"$V\" convert --type=raw disk.vmdk before");
  expect_done("\"$V\" compact --to=small.vmdk disk.vmdk");
  expect_done("qemu-img compare -f vmdk -F raw small.vmdk before");
  EXPECT_TRUE(exists("small-s001.vmdk"));
  EXPECT_GT(fs::file_size(path("disk-s001.vmdk")), fs::file_size(path("small-s001.vmdk")));
  const CommandResult done = vmdkctl("compact --json disk.vmdk");
  EXPECT_EQ(done.status, 0) << done.to_text();
  const json report = json::parse(done.out);
  EXPECT_LT(report["bytesAfter"], report["bytesBefore"]);
  EXPECT_EQ(fs::file_size(path("disk-s001.vmdk")), fs::file_size(path("small-s001.vmdk")));
  expect_done("qemu-img compare -f vmdk -F raw disk.vmdk before");
  EXPECT_EQ(vmdkctl("compact --to=small.vmdk disk.vmdk").status, 2) << "it is there already";
}

TEST_F(CompactVerbTest, OtherKindsAreRefusedWithTheWayOut) {
  save_raw("raw", kMiB);
  expect_done("\"$V\" convert --from=raw --type=monolithicFlat raw flat.vmdk");
  const CommandResult flat = vmdkctl("compact flat.vmdk");
  EXPECT_EQ(flat.status, 2);
  EXPECT_THAT(flat.err, HasSubstr("fallocate --dig-holes"));
  expect_done("\"$V\" convert --from=raw --type=streamOptimized raw stream.vmdk");
  EXPECT_THAT(vmdkctl("compact stream.vmdk").err, HasSubstr("vmdkctl convert"));
  make_worn("disk.vmdk");
  {
    PosixFileSystem file_system;
    ASSERT_OK_AND_ASSIGN(const auto mounted, Disk::open(file_system, path("disk.vmdk"), {}));
    const CommandResult busy = vmdkctl("compact disk.vmdk");
    EXPECT_EQ(busy.status, 2);
    EXPECT_THAT(busy.err, HasSubstr("in use"));
  }
}

}  // namespace
}  // namespace vmdk::test
