// Images whose name or wrapping is unusual and whose extents are not: served like any other.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "disk_fixture.h"

namespace vmdk::test {
namespace {

class KindsTest : public DiskFixture {
 protected:
  // Written, closed, opened again and read back, and found clean.
  void expect_served(const std::filesystem::path& image, std::uint64_t at) {
    {
      ASSERT_OK_AND_ASSIGN(const auto disk, open(image));
      ASSERT_OK(write(*disk, at, "across the border"));
      ASSERT_OK(disk->close());
    }
    ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly(image));
    EXPECT_EQ(read(*disk, at, 17), "across the border");
    ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(files_, image, {}));
    EXPECT_EQ(report.exit_code(), 0);
  }
};

TEST_F(KindsTest, OtherNamesOfFlatDisksOfEsx) {
  for (const std::string type :
       {"vmfsThin", "vmfsThick", "vmfsPreallocated", "vmfsEagerZeroedThick"}) {
    SCOPED_TRACE(type);
    DescriptorSpec descriptor;
    descriptor.create_type = type;
    const std::string image = "/vm/" + type + ".vmdk";
    ASSERT_OK(build_flat(memory_, image, {{.length = 64 * kKiB, .type = "VMFS"}}, descriptor));
    expect_served(image, 100);
  }
}

TEST_F(KindsTest, ACustomDiskMixesSparseAndFlat) {
  SparseSpec part;
  part.capacity = 100 * kSectorSize;
  part.descriptor = std::nullopt;
  ASSERT_OK(build_sparse(memory_, "/vm/a.vmdk", part));
  memory_.put("/vm/b.raw", std::string(50 * kSectorSize, 'b'));
  DescriptorSpec descriptor;
  descriptor.create_type = "custom";
  descriptor.extent_lines = {extent_line("RW", part.capacity, "SPARSE", "a.vmdk"),
                             extent_line("RW", 49 * kSectorSize, "FLAT", "b.raw", kSectorSize)};
  ASSERT_OK(build_descriptor(memory_, "/vm/d.vmdk", descriptor));
  expect_served("/vm/d.vmdk", part.capacity - 5);
  ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
  EXPECT_EQ(disk->capacity(), 149 * kSectorSize);
  EXPECT_EQ(read(*disk, part.capacity + 12, 3), "bbb");
  EXPECT_EQ(read(*disk, 0, 3), std::string(3, '\0'));
}

TEST_F(KindsTest, AHeaderWithoutCapacityOnlyWrapsADescriptor) {
  memory_.put("/vm/d-flat.vmdk", std::string(kMiB, 'f'));
  SparseSpec wrapper;
  wrapper.capacity = kMiB;
  wrapper.descriptor->create_type = "monolithicFlat";
  wrapper.descriptor->extent_lines = {extent_line("RW", kMiB, "FLAT", "d-flat.vmdk", 0)};
  wrapper.edit_header = [](SparseHeader& header) { header.capacity = Sectors(0); };
  make("/vm/d.vmdk", wrapper);
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly("/vm/d.vmdk"));
    EXPECT_EQ(disk->capacity(), kMiB);
    EXPECT_EQ(read(*disk, kMiB - 4, 4), "ffff");
  }
  expect_served("/vm/d.vmdk", 4242);
  // The wrapper itself is no extent.
  wrapper.descriptor->extent_lines = {extent_line("RW", kMiB, "FLAT", "e.vmdk", 0)};
  make("/vm/e.vmdk", wrapper);
  EXPECT_THAT(open_readonly("/vm/e.vmdk"), HasMessage("names the descriptor itself as an extent"));
}

TEST_F(KindsTest, PathsOfOtherSystemsLeadBesideTheDescriptor) {
  memory_.put("/vm/a-flat.vmdk", std::string(64 * kKiB, 'a'));
  for (const std::string name :
       {R"(C:\VMs\disk one\a-flat.vmdk)", R"(\\server\share\a-flat.vmdk)", "C:/VMs/a-flat.vmdk",
        "/vmfs/volumes/4f1c/vm/a-flat.vmdk", R"(..\a-flat.vmdk)"}) {
    SCOPED_TRACE(name);
    DescriptorSpec descriptor;
    descriptor.create_type = "monolithicFlat";
    descriptor.extent_lines = {extent_line("RW", 64 * kKiB, "FLAT", name, 0)};
    ASSERT_OK(build_descriptor(memory_, "/vm/d.vmdk", descriptor));
    expect_served("/vm/d.vmdk", 77);
    ASSERT_OK(memory_.remove("/vm/d.vmdk"));
  }
}

// What is there as named is what was meant, whatever lies beside it.
TEST_F(KindsTest, AFileWithABackslashInItsNameStandsForItself) {
  memory_.put("/vm/x-flat.vmdk", std::string(64 * kKiB, 'x'));
  DescriptorSpec descriptor;
  descriptor.create_type = "monolithicFlat";
  descriptor.extent_lines = {extent_line("RW", 64 * kKiB, "FLAT", R"(a\x-flat.vmdk)", 0)};
  ASSERT_OK(build_descriptor(memory_, "/vm/d.vmdk", descriptor));
  EXPECT_OK(open_readonly("/vm/d.vmdk"));
  memory_.make_directory(R"(/vm/a\x-flat.vmdk)");
  EXPECT_THAT(open_readonly("/vm/d.vmdk"), HasMessage(R"(/vm/a\x-flat.vmdk)"));
}

TEST_F(KindsTest, APathOfThisSystemIsNotReducedToItsName) {
  memory_.put("/vm/a-flat.vmdk", std::string(64 * kKiB, 'a'));
  DescriptorSpec descriptor;
  descriptor.create_type = "monolithicFlat";
  descriptor.extent_lines = {extent_line("RW", 64 * kKiB, "FLAT", "/srv/a-flat.vmdk", 0)};
  ASSERT_OK(build_descriptor(memory_, "/vm/d.vmdk", descriptor));
  EXPECT_THAT(open_readonly("/vm/d.vmdk"), IsError(ErrorCode::kDenied));
  descriptor.extent_lines = {extent_line("RW", 64 * kKiB, "FLAT", R"(D:\gone.vmdk)", 0)};
  ASSERT_OK(build_descriptor(memory_, "/vm/e.vmdk", descriptor));
  EXPECT_THAT(open_readonly("/vm/e.vmdk"), IsError(ErrorCode::kNotFound));
}

}  // namespace
}  // namespace vmdk::test
