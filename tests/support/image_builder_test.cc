#include "support/image_builder.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "support/file_helpers.h"
#include "support/matchers.h"
#include "support/memory_file_system.h"

namespace vmdk::test {
namespace {

std::uint32_t number_at(const MemoryFileSystem& fs, const char* path, std::uint64_t at) {
  return load_le32(fs.bytes(path, at, 4), 0);
}

Result<Descriptor> parse_file(const MemoryFileSystem& fs, const char* path) {
  return Descriptor::parse(fs.text(path));
}

TEST(ImageBuilderTest, SparseImageIsAcceptedByTheDecoders) {
  MemoryFileSystem fs;
  ASSERT_OK_AND_ASSIGN(
      const BuiltSparse built,
      build_sparse(fs, "dir/a.vmdk",
                   {.capacity = 100 * kMiB,
                    .unclean = true,
                    .grains = {{.index = 700, .data = filled(10, 7)},
                               {.index = 1, .entry = 1, .copies = TableCopies::kRedundant},
                               {.index = 3, .data = filled(64 * kKiB, 8), .skew = 1}}}));
  const auto start = fs.bytes("dir/a.vmdk", 0, kSparseHeaderSize);
  ASSERT_OK_AND_ASSIGN(const SparseHeader header,
                       decode_sparse_header(std::span(start).first<kSparseHeaderSize>()));
  EXPECT_OK(validate_against_file(header, fs.size("dir/a.vmdk")));
  EXPECT_TRUE(header.unclean);
  EXPECT_EQ(header.capacity_bytes(), 100 * kMiB);

  const std::uint64_t directory = header.gd_offset.count() * kSectorSize;
  const std::uint64_t second_table = number_at(fs, "dir/a.vmdk", directory + 4);
  const std::uint64_t grain = number_at(fs, "dir/a.vmdk", second_table * kSectorSize + 188 * 4);
  EXPECT_EQ(grain * kSectorSize, built.data.at(700));
  EXPECT_EQ(grain % 128, 0U);
  EXPECT_EQ(fs.bytes("dir/a.vmdk", built.data.at(700), 10), filled(10, 7));
  EXPECT_EQ(number_at(fs, "dir/a.vmdk", built.entry_at(700, true)), grain);
  EXPECT_EQ(number_at(fs, "dir/a.vmdk", built.entry_at(1, true)), 1U);
  EXPECT_EQ(number_at(fs, "dir/a.vmdk", built.entry_at(1, false)), 0U);
  EXPECT_EQ(built.data.at(3) % (64 * kKiB), kSectorSize);
  EXPECT_EQ(fs.size("dir/a.vmdk"), built.data.at(3) + 64 * kKiB);

  ASSERT_OK_AND_ASSIGN(
      const Descriptor descriptor,
      Descriptor::parse(fs.text("dir/a.vmdk").substr(kSectorSize, 20 * kSectorSize)));
  ASSERT_EQ(descriptor.extents().size(), 1U);
  EXPECT_EQ(descriptor.extents()[0].file_name, "a.vmdk");
  EXPECT_EQ(descriptor.capacity(), header.capacity);
}

TEST(ImageBuilderTest, HeaderAndDirectoryCanLie) {
  MemoryFileSystem fs;
  ASSERT_OK_AND_ASSIGN(
      const BuiltSparse built,
      build_sparse(
          fs, "a.vmdk",
          {.capacity = 100 * kMiB,
           .missing_tables = {2},
           .edit_header = [](SparseHeader& header) { header.grain_size = Sectors(129); },
           .edit_encoded_header = [](std::span<std::byte> bytes) { store_u8(bytes, 0, 'X'); }}));
  EXPECT_EQ(fs.text("a.vmdk").substr(0, 4), "XDMV");
  EXPECT_EQ(number_at(fs, "a.vmdk", 20), 129U);
  EXPECT_EQ(number_at(fs, "a.vmdk", built.directory_entry_at(2)), 0U);
  EXPECT_NE(number_at(fs, "a.vmdk", built.directory_entry_at(3)), 0U);
}

TEST(ImageBuilderTest, SplitImageHasExtentsOfItsOwnLengths) {
  MemoryFileSystem fs;
  ASSERT_OK(build_split_sparse(fs, "vm/disk.vmdk", {{.capacity = kMiB}, {.capacity = 3 * kMiB}}));
  ASSERT_OK_AND_ASSIGN(const Descriptor descriptor, parse_file(fs, "vm/disk.vmdk"));
  ASSERT_EQ(descriptor.extents().size(), 2U);
  EXPECT_EQ(descriptor.extents()[1].file_name, "disk-s002.vmdk");
  EXPECT_EQ(descriptor.extents()[1].length, Sectors(3 * kMiB / kSectorSize));
  EXPECT_TRUE(fs.exists("vm/disk-s001.vmdk"));
  EXPECT_TRUE(fs.exists("vm/disk-s002.vmdk"));
}

TEST(ImageBuilderTest, FlatImageHasLinesOfEveryKind) {
  MemoryFileSystem fs;
  ASSERT_OK(build_flat(fs, "disk.vmdk",
                       {{.length = kMiB, .data = filled(3, 5), .offset = 4096},
                        {.length = kMiB, .type = "ZERO"},
                        {.length = kMiB, .access = "RDONLY"},
                        {.length = kMiB, .access = "NOACCESS"}},
                       {.parent_cid = 7, .parent_hint = "base.vmdk", .line_end = "\r\n"}));
  ASSERT_OK_AND_ASSIGN(const Descriptor descriptor, parse_file(fs, "disk.vmdk"));
  ASSERT_EQ(descriptor.extents().size(), 4U);
  EXPECT_EQ(descriptor.extents()[0].offset, Sectors(8));
  EXPECT_EQ(descriptor.extents()[1].type, ExtentType::kZero);
  EXPECT_EQ(descriptor.extents()[2].access, ExtentAccess::kReadOnly);
  EXPECT_EQ(descriptor.extents()[3].access, ExtentAccess::kNoAccess);
  EXPECT_EQ(descriptor.parent_hint(), "base.vmdk");
  EXPECT_EQ(descriptor.parent_cid(), 7U);
  EXPECT_EQ(fs.bytes("disk-f001.vmdk", 4096, 3), filled(3, 5));
  EXPECT_EQ(fs.size("disk-f001.vmdk"), 4096 + kMiB);
  EXPECT_FALSE(fs.exists("disk-f002.vmdk"));
}

TEST(ImageBuilderTest, VmfsImageHasItsDataBesideTheDescriptor) {
  MemoryFileSystem fs;
  ASSERT_OK(
      build_flat(fs, "disk.vmdk", {{.length = kMiB, .type = "VMFS"}},
                 {.more_lines = {"ddb.adapterType = \"lsilogic\""}, .final_line_end = false}));
  EXPECT_THAT(fs.text("disk.vmdk"), ::testing::HasSubstr("RW 2048 VMFS \"disk-flat.vmdk\"\n"));
  EXPECT_TRUE(fs.text("disk.vmdk").ends_with("\"lsilogic\""));
  ASSERT_OK_AND_ASSIGN(const Descriptor descriptor, parse_file(fs, "disk.vmdk"));
  EXPECT_EQ(descriptor.create_type(), "vmfs");
  EXPECT_EQ(fs.size("disk-flat.vmdk"), kMiB);
}

}  // namespace
}  // namespace vmdk::test
