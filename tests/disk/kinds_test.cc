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

class MissingTablesTest : public DiskFixture, public testing::WithParamInterface<bool> {};

TEST_P(MissingTablesTest, AreAddedWhenForced) {
  const bool redundant = GetParam();
  SparseSpec spec;
  spec.capacity = 10 * kMiB;
  spec.grain_size = 4 * kKiB;
  spec.zeroed_grains = true;
  spec.missing_tables = {1, 3};
  spec.grains = {{.index = 2, .data = filled(4 * kKiB, 'a')}};
  spec.descriptor = child_of("base.vmdk");
  if (!redundant)
    spec.edit_header = [](SparseHeader& header) { header.flags &= ~sparse_flag::kRedundantTables; };
  const BuiltSparse built = make("/vm/d.vmdk", spec);
  make_sparse("/vm/base.vmdk", {}, std::string(64 * kKiB, 'p'), 10 * kMiB);
  options_.force_tables = true;
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
    ASSERT_OK(write(*disk, 3 * kMiB + 5, "in the second table"));
    ASSERT_OK(write(*disk, 9 * kMiB, "in the last table"));
    ASSERT_OK(disk->flush());
    ASSERT_OK(write(*disk, 3 * kMiB + 8, "THE"));
    ASSERT_OK(disk->discard(DiskOffset(7 * kMiB), 4 * kKiB));  // a table for an entry of 1
    ASSERT_OK(disk->close());
  }
  options_.force_tables = false;
  for (const std::uint64_t table : {1U, 3U}) {
    EXPECT_NE(peek("/vm/d.vmdk", built.directory_entry_at(table)), 0U);
    if (redundant) {
      EXPECT_NE(peek("/vm/d.vmdk", built.directory_entry_at(table, true)), 0U);
    }
  }
  {
    ASSERT_OK_AND_ASSIGN(const auto disk, open("/vm/d.vmdk"));
    EXPECT_EQ(read(*disk, 3 * kMiB + 5, 19), "in THE second table");
    EXPECT_EQ(read(*disk, 9 * kMiB, 17), "in the last table");
    EXPECT_EQ(read(*disk, 8 * kKiB, 2), "aa");
    EXPECT_EQ(read(*disk, 0, 2), "pp");
  }
  const auto report = check_image(memory_, "/vm/d.vmdk", {});
  ASSERT_OK(report);
  EXPECT_EQ(report->exit_code(), 0) << report->findings[0].text;
  EXPECT_FALSE(marked("/vm/d.vmdk"));
}

// Its other copy lies in the metadata, where no table is added: this is damage.
TEST_P(MissingTablesTest, ATableInOneCopyIsNotAdded) {
  for (const bool unclean : {false, true}) {
    SCOPED_TRACE(unclean);
    SparseSpec spec;
    spec.capacity = 64 * kMiB;
    spec.unclean = unclean;
    spec.grains = {{.index = 512, .data = filled(64 * kKiB, 'a')}};
    const std::string image = unclean ? "/vm/unclean.vmdk" : "/vm/clean.vmdk";
    const BuiltSparse built = make(image, spec);
    poke_entry(image, built.directory_entry_at(1, GetParam()), 0);
    const auto bytes = all_bytes();
    options_.force_tables = true;
    EXPECT_THAT(open(image), HasMessage("named in one of its two directories only"));
    CheckOptions options;
    options.repair = options.repair_tables = true;
    ASSERT_OK_AND_ASSIGN(const CheckReport report, check_image(memory_, image, options));
    EXPECT_EQ(report.exit_code(), 2);
    EXPECT_EQ(all_bytes(), bytes);
  }
}

// As an interrupted commit would leave it, but the image was closed since.
TEST_F(DiskFixture, AHalfNamedTableUnderAClearMarkIsDamage) {
  SparseSpec spec;
  spec.capacity = 64 * kMiB;
  spec.missing_tables = {1};
  spec.grains = {{.index = 0, .data = filled(64 * kKiB, 0)}};
  const BuiltSparse built = make("/vm/d.vmdk", spec);
  const auto sector = static_cast<std::uint32_t>(built.data.at(0) / kSectorSize);
  poke_entry("/vm/d.vmdk", built.entry_at(0), 0);
  poke_entry("/vm/d.vmdk", built.entry_at(0, true), 0);
  poke_entry("/vm/d.vmdk", built.directory_entry_at(1, true), sector);
  options_.force_tables = true;
  EXPECT_THAT(open("/vm/d.vmdk"), HasMessage("named in one of its two directories only"));
}

INSTANTIATE_TEST_SUITE_P(Copies, MissingTablesTest, testing::Bool());

}  // namespace
}  // namespace vmdk::test
