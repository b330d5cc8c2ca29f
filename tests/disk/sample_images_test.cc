// Real images through the whole engine.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/check.h>
#include <vmdk/disk.h>

#include "base/bytes.h"
#include "io/posix_file_system.h"
#include "support/command.h"
#include "support/matchers.h"
#include "support/temp_dir.h"

namespace vmdk::test {
namespace {

class SampleDisksTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::is_directory(SAMPLE_IMAGES))
      GTEST_SKIP() << "no sample images: " << SAMPLE_IMAGES << " is not a directory";
  }

  static std::filesystem::path sample(const std::string& name) {
    return std::filesystem::path(SAMPLE_IMAGES) / name;
  }

  Result<std::unique_ptr<Disk>> open(const std::filesystem::path& image, Access access) {
    OpenOptions options;
    options.access = access;
    return Disk::open(files_, image, options);
  }

  // The sha256 of the flat disk.
  std::string sum_of(Disk& disk) {
    std::vector<std::byte> bytes(disk.capacity());
    EXPECT_OK(disk.read(DiskOffset(0), bytes));
    const std::string flat = (folder_ / "flat").string();
    std::ofstream(flat, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),  // NOLINT: bytes as characters
               static_cast<std::streamsize>(bytes.size()));
    return run_command("sha256sum < " + shell_word(flat)).out.substr(0, 64);
  }

  // Copies a sample to where it can be written.
  std::filesystem::path copy_of(const std::string& name) {
    std::filesystem::copy_file(sample(name), folder_ / name);
    std::filesystem::permissions(folder_ / name, std::filesystem::perms::owner_write,
                                 std::filesystem::perm_options::add);
    return folder_ / name;
  }

  PosixFileSystem files_;
  TempDir folder_;
};

// The sums are those of another program's reader.
constexpr const char* kSumOfExt2 =
    "a6c2f0e39afe6c6ab432ca5465349fcefe8dc944398e97b2d957d3f89dbb5d80";
constexpr const char* kSumOfStream =
    "92c0f8b4280377437056f57c51ef51a5f8aeb1462ac630ef0633febcbfc3db4e";
constexpr const char* kSumOfThick =
    "8d43c795d24bce01b49f92744f934c1072210dcac170bb1c83a5aa56df46ab7d";

TEST_F(SampleDisksTest, SparseOfVmware4) {
  ASSERT_OK_AND_ASSIGN(const auto disk, open(sample("ext2-vmware4.vmdk"), Access::kReadOnly));
  EXPECT_EQ(sum_of(*disk), kSumOfExt2);
  ASSERT_OK_AND_ASSIGN(const CheckReport report,
                       check_image(files_, sample("ext2-vmware4.vmdk"), {}));
  EXPECT_EQ(report.damage_count, 0U);
}

TEST_F(SampleDisksTest, SparseOfVmware4Written) {
  const auto image = copy_of("ext2-vmware4.vmdk");
  const std::string text = "written behind the file system's end";
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open(image, Access::kReadWrite));
    EXPECT_EQ(sum_of(*disk), kSumOfExt2);
    ASSERT_OK(disk->write(DiskOffset(disk->capacity() - text.size()), bytes_of(text)));
    ASSERT_OK(disk->close());
  }
  ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(files_, image, {}));
  EXPECT_EQ(report.exit_code(), 0);
  ASSERT_OK_AND_ASSIGN(const auto disk, open(image, Access::kReadOnly));
  std::string read(text.size(), '?');
  ASSERT_OK(disk->read(DiskOffset(disk->capacity() - text.size()),
                       std::as_writable_bytes(std::span(read))));
  EXPECT_EQ(read, text);
}

TEST_F(SampleDisksTest, ThickDiskOfEsx) {
  ASSERT_OK_AND_ASSIGN(const auto disk, open(sample("vmfs_thick.vmdk"), Access::kReadOnly));
  EXPECT_EQ(sum_of(*disk), kSumOfThick);
  EXPECT_EQ(disk->info().layers[0].adapter, "lsilogic");
}

TEST_F(SampleDisksTest, CompressedDiskWithMarkers) {
  ASSERT_OK_AND_ASSIGN(const auto disk,
                       open(sample("stream-with-markers.vmdk"), Access::kReadOnly));
  EXPECT_EQ(sum_of(*disk), kSumOfStream);
  ASSERT_OK_AND_ASSIGN(const CheckReport report,
                       check_image(files_, sample("stream-with-markers.vmdk"), {}));
  EXPECT_EQ(report.exit_code(), 0);
}

// An export of VMware: byte 655360·i + 512·i of it is the digit i mod 10, all else is zero.
TEST_F(SampleDisksTest, CompressedExportOfVmware) {
  const auto image = sample("stream-version3-16g.vmdk");
  EXPECT_THAT(open(image, Access::kReadWrite), HasMessage("read-only by nature"));
  ASSERT_OK_AND_ASSIGN(const auto disk, open(image, Access::kReadOnly));
  EXPECT_EQ(disk->capacity(), 16 * kGiB);
  std::vector<std::byte> bytes(kMiB);
  for (std::uint64_t i = 0; i < 100; ++i) {
    ASSERT_OK(disk->read(DiskOffset(655360 * i + 512 * i), std::span(bytes).first(1)));
    EXPECT_EQ(bytes[0], static_cast<std::byte>('0' + i % 10)) << i;
  }
  std::uint64_t data = 0;
  for (DiskOffset at; at.bytes() < disk->capacity();) {
    ASSERT_OK_AND_ASSIGN(const MapRun run, disk->map(at, disk->capacity() - at.bytes()));
    data += run.kind == MapKind::kData ? run.length : 0;
    at += run.length;
  }
  ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(files_, image, {}));
  EXPECT_EQ(report.exit_code(), 0);
  EXPECT_EQ(report.allocated_grains * 64 * kKiB, data);
}

TEST_F(SampleDisksTest, KindsThatThisVersionDoesNotServe) {
  EXPECT_THAT(open(sample("vmfs_thick-000001.vmdk"), Access::kReadOnly),
              HasMessage("createType \"vmfsSparse\": this kind is not supported"));
  EXPECT_THAT(open(sample("vmfs_thick-flat.vmdk"), Access::kReadOnly),
              HasMessage("open the disk's descriptor"));
}

TEST_F(SampleDisksTest, TheFuzzersFileIsRefusedAtOnce) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(open(sample("hostile-afl9.vmdk"), Access::kReadOnly), IsError(ErrorCode::kCorrupt));
  EXPECT_THAT(open(sample("hostile-afl9.vmdk"), Access::kReadWrite), IsError(ErrorCode::kCorrupt));
  ASSERT_OK_AND_ASSIGN(const CheckReport report,
                       check_image(files_, sample("hostile-afl9.vmdk"), {}));
  EXPECT_EQ(report.exit_code(), 2);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

}  // namespace
}  // namespace vmdk::test
