// Files that VMware and others made.
#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "format/descriptor.h"
#include "format/magic.h"
#include "format/sparse_header.h"

namespace vmdk {
namespace {

class SampleImagesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::is_directory(SAMPLE_IMAGES))
      GTEST_SKIP() << "no sample images: " << SAMPLE_IMAGES << " is not a directory";
  }

  static std::string load(const std::string& name) {
    std::ifstream file(std::filesystem::path(SAMPLE_IMAGES) / name, std::ios::binary);
    EXPECT_TRUE(file) << name;
    return {std::istreambuf_iterator<char>(file), {}};
  }

  static std::span<const std::byte, kSparseHeaderSize> header_of(const std::string& file) {
    return bytes_of(file).first<kSparseHeaderSize>();
  }

  // The header bytes come out again as they were, and the embedded descriptor is read.
  static SparseHeader expect_round_trip(const std::string& file, Result<Descriptor>& descriptor) {
    EXPECT_EQ(recognise(bytes_of(file)), FileKind::kHostedSparse);
    const auto header = decode_sparse_header(header_of(file));
    if (!header) {
      ADD_FAILURE() << header.error().message();
      return {};
    }
    const auto encoded = encode_sparse_header(*header);
    EXPECT_TRUE(std::equal(encoded.begin(), encoded.end(), header_of(file).begin()));
    descriptor = Descriptor::parse(file.substr(header->descriptor_offset.count() * 512,
                                               header->descriptor_size.count() * 512));
    EXPECT_TRUE(descriptor) << descriptor.error().message();
    return *header;
  }

  Result<Descriptor> descriptor_ = Error::make(ErrorCode::kIo, "not read");
};

TEST_F(SampleImagesTest, SparseOfVmware4IsTheLayoutWeWouldMake) {
  const auto file = load("ext2-vmware4.vmdk");
  const auto header = expect_round_trip(file, descriptor_);
  ASSERT_TRUE(descriptor_);
  EXPECT_EQ(descriptor_->cid(), 0xdc80b6c7U);
  EXPECT_EQ(descriptor_->capacity(), header.capacity);
  EXPECT_EQ(descriptor_->value("ddb.geometry.cylinders"), "8");
  EXPECT_TRUE(validate_against_file(header, file.size()));

  const auto layout = lay_out_sparse_extent(Sectors(8192), Sectors(128), 20, false);
  ASSERT_TRUE(layout);
  const auto ours = encode_sparse_header(layout->header);
  EXPECT_TRUE(std::equal(ours.begin(), ours.end(), header_of(file).begin()));
}

TEST_F(SampleImagesTest, StreamsAreUnderstood) {
  const auto exported = expect_round_trip(load("stream-version3-16g.vmdk"), descriptor_);
  ASSERT_TRUE(descriptor_);
  EXPECT_TRUE(exported.is_compressed());
  EXPECT_EQ(exported.gd_offset, Sectors(kDirectoryAtEnd));
  EXPECT_EQ(exported.version, 3U);
  EXPECT_EQ(descriptor_->create_type(), "streamOptimized");
  EXPECT_EQ(descriptor_->extents()[0].access, ExtentAccess::kReadOnly);
  EXPECT_EQ(descriptor_->capacity(), Sectors(33554432));
  EXPECT_EQ(validate_against_file(exported, 282624).error().code(), ErrorCode::kUnsupported);

  const auto converted = expect_round_trip(load("stream-with-markers.vmdk"), descriptor_);
  ASSERT_TRUE(descriptor_);
  EXPECT_EQ(converted.gd_offset, Sectors(0x896));
  EXPECT_EQ(descriptor_->cid(), 0x7e5b80a7U);
}

TEST_F(SampleImagesTest, DescriptorsOfEsxAreRead) {
  const auto thick = load("vmfs_thick.vmdk");
  EXPECT_EQ(recognise(bytes_of(thick)), FileKind::kDescriptor);
  descriptor_ = Descriptor::parse(thick);
  ASSERT_TRUE(descriptor_) << descriptor_.error().message();
  EXPECT_EQ(descriptor_->create_type(), "vmfs");
  EXPECT_EQ(descriptor_->extents()[0].type, ExtentType::kVmfs);
  EXPECT_EQ(descriptor_->extents()[0].file_name, "vmfs_thick-flat.vmdk");
  EXPECT_EQ(descriptor_->parent_cid(), std::nullopt);

  const auto child = Descriptor::parse(load("vmfs_thick-000001.vmdk"));
  ASSERT_TRUE(child) << child.error().message();
  EXPECT_EQ(child->parent_cid(), descriptor_->cid());
  EXPECT_EQ(child->parent_hint(), "vmfs_thick.vmdk");
  EXPECT_EQ(child->extents()[0].type, ExtentType::kVmfsSparse);
  EXPECT_EQ(recognise(bytes_of(load("vmfs_thick-flat.vmdk"))), FileKind::kUnknown);
}

TEST_F(SampleImagesTest, TheFuzzersFileIsRefusedByItsHeaderAlone) {
  const auto file = load("hostile-afl9.vmdk");
  const auto header = decode_sparse_header(header_of(file));
  ASSERT_FALSE(header);
  EXPECT_EQ(header.error().code(), ErrorCode::kCorrupt);

  // Also with newline bytes as they should be, which it lacks; and with usual tables on top.
  std::array<std::byte, kSparseHeaderSize> bytes{};
  std::copy_n(header_of(file).begin(), bytes.size(), bytes.begin());
  store_le32(bytes, 73, 0x0A0D200A);
  store_le16(bytes, 77, 0);
  EXPECT_NE(decode_sparse_header(bytes).error().message().find("numGTEsPerGT 506"),
            std::string::npos);
  store_le32(bytes, 44, 512);
  EXPECT_NE(decode_sparse_header(bytes).error().message().find("capacity 2233785"),
            std::string::npos);
}

}  // namespace
}  // namespace vmdk
