// Descriptors shown, changed and made anew, on a file system in memory.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <vmdk/create.h>
#include <vmdk/descriptor_edit.h>

#include "disk/disk_fixture.h"
#include "disk/image_text.h"
#include "support/image_judges.h"
#include "support/must.h"

namespace vmdk::test {
namespace {

namespace fs = std::filesystem;

class DescriptorEditTest : public DiskFixture {
 protected:
  void create(const fs::path& image, ImageType type, std::uint64_t capacity = 3 * kMiB) {
    CreateOptions options;
    options.type = type;
    options.capacity = capacity;
    ASSERT_OK(create_image(files_, image, options));
    ASSERT_OK_AND_ASSIGN(const auto disk, open(image));
    ASSERT_OK(write(*disk, kMiB, "content"));
    ASSERT_OK(disk->close());
  }

  Status set(const fs::path& image, std::string_view key, std::string_view value) {
    return set_descriptor_value(files_, image, key, value, {});
  }

  Descriptor descriptor_of(const fs::path& image) {
    return must(read_image_text(*must(memory_.open(image, Access::kReadOnly)))).descriptor;
  }

  void expect_content(const fs::path& image, std::uint64_t capacity = 3 * kMiB) {
    ASSERT_OK_AND_ASSIGN(const auto disk, open_readonly(image));
    EXPECT_EQ(disk->capacity(), capacity);
    EXPECT_EQ(read(*disk, kMiB, 7), "content");
    EXPECT_EQ(wrong_check(files_, image), std::nullopt);
  }
};

TEST_F(DescriptorEditTest, SetsWhatIsThereAndWhatIsNot) {
  for (const ImageType type : {ImageType::kMonolithicSparse, ImageType::kMonolithicFlat}) {
    const fs::path image = type == ImageType::kMonolithicFlat ? "/vm/flat.vmdk" : "/vm/sparse.vmdk";
    create(image, type);
    const std::uint32_t cid = descriptor_of(image).cid();
    ASSERT_OK(set(image, "ddb.adapterType", "lsilogic"));  // longer than "ide"
    ASSERT_OK(set(image, "ddb.virtualHWVersion", "9"));    // as long
    ASSERT_OK(set(image, "ddb.comment", "made by hand"));
    const Descriptor after = descriptor_of(image);
    EXPECT_EQ(after.value("ddb.adapterType"), "lsilogic");
    EXPECT_EQ(after.value("ddb.virtualHWVersion"), "9");
    EXPECT_EQ(after.value("ddb.comment"), "made by hand");
    EXPECT_EQ(after.cid(), cid);
    ASSERT_OK_AND_ASSIGN(const std::string text, read_descriptor(files_, image));
    EXPECT_EQ(text, after.text());
    EXPECT_NE(text.find("ddb.comment = \"made by hand\"\n"), std::string::npos);
    expect_content(image);
  }
}

TEST_F(DescriptorEditTest, AnEmbeddedTextHasSoMuchRoom) {
  create("/vm/disk.vmdk", ImageType::kMonolithicSparse);
  const auto before = all_bytes();
  Status status;
  for (int i = 0; i < 9 && status; ++i)
    status = set("/vm/disk.vmdk", "ddb.long" + std::to_string(i), std::string(2000, 'x'));
  EXPECT_THAT(status, IsError(ErrorCode::kNoSpace));
  EXPECT_THAT(status, HasMessage("room for 10240 bytes"));
  expect_content("/vm/disk.vmdk");
}

TEST_F(DescriptorEditTest, RefusesWhatHoldsTheDiskTogether) {
  create("/vm/disk.vmdk", ImageType::kMonolithicSparse);
  const auto before = all_bytes();
  for (const char* key : {"CID", "parentCID", "createType", "version", "parentFileNameHint", "ddb.",
                          "ddb.longContentID", "RW 8 SPARSE", "ddb.x = \"1\"\nddb.y"})
    EXPECT_THAT(set("/vm/disk.vmdk", key, "1"),
                testing::AnyOf(IsError(ErrorCode::kInvalidArgument), IsError(ErrorCode::kCorrupt)))
        << key;
  for (const char* value : {"a\"b", "a\nb"})
    EXPECT_THAT(set("/vm/disk.vmdk", "ddb.comment", value), IsError(ErrorCode::kInvalidArgument));
  EXPECT_EQ(all_bytes(), before);
}

TEST_F(DescriptorEditTest, RefusesWhatIsNoTextInTheEncodingOfTheDescriptor) {
  struct Row {
    std::string encoding;
    std::string text;
    std::string other;
    std::string message;
  };

  const std::vector<Row> rows = {
      {"UTF-8", "gr\xC3\xBC\xC3\x9F", "gr\xFC\xDF", "encoding, \"UTF-8\""},
      {"windows-1252", "gr\xFC\xDF", "\x81", "encoding, \"windows-1252\""},
      {"Shift_JIS", "\x83\x65", "\x83", "encoding, \"Shift_JIS\""},
      {"KOI-9", "ascii", "\xC1", "encoding, \"KOI-9\", is not known: only ASCII"}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.encoding);
    make_sparse("/vm/disk.vmdk", {.more_lines = {"encoding=\"" + row.encoding + "\""}});
    ASSERT_OK(set("/vm/disk.vmdk", "ddb.comment", row.text));
    EXPECT_EQ(descriptor_of("/vm/disk.vmdk").value("ddb.comment"), row.text);
    const auto before = all_bytes();
    EXPECT_THAT(set("/vm/disk.vmdk", "ddb.comment", row.other), HasMessage(row.message));
    EXPECT_THAT(set("/vm/disk.vmdk", "ddb." + row.other, "x"),
                IsError(ErrorCode::kInvalidArgument));
    EXPECT_EQ(all_bytes(), before);
    ASSERT_OK(memory_.remove("/vm/disk.vmdk"));
  }
}

TEST_F(DescriptorEditTest, RefusesAnImageInUse) {
  create("/vm/disk.vmdk", ImageType::kMonolithicSparse);
  ASSERT_OK_AND_ASSIGN(const auto reader, open_readonly("/vm/disk.vmdk"));
  EXPECT_THAT(set("/vm/disk.vmdk", "ddb.comment", "x"), IsError(ErrorCode::kBusy));
}

TEST_F(DescriptorEditTest, AnEmbeddedTextIsMadeFromTheHeader) {
  create("/vm/disk.vmdk", ImageType::kMonolithicSparse);
  EXPECT_THAT(rebuild_descriptor(files_, "/vm/disk.vmdk", {}), HasMessage("can be read"));
  for (const char fill : {'\0', '\xFF'}) {
    memory_.poke("/vm/disk.vmdk", kSectorSize, bytes_of(std::string(20 * kSectorSize, fill)));
    ASSERT_FALSE(open_readonly("/vm/disk.vmdk"));
    ASSERT_OK(rebuild_descriptor(files_, "/vm/disk.vmdk", {}));
    expect_content("/vm/disk.vmdk");
    EXPECT_EQ(descriptor_of("/vm/disk.vmdk").create_type(), "monolithicSparse");
  }
}

TEST_F(DescriptorEditTest, AMissingTextIsMadeFromTheFilesBesideIt) {
  for (const ImageType type : {ImageType::kMonolithicFlat, ImageType::kTwoGbMaxExtentSparse,
                               ImageType::kTwoGbMaxExtentFlat}) {
    create("/vm/disk.vmdk", type, 5 * kGiB);
    const std::string created = descriptor_of("/vm/disk.vmdk").create_type();
    for (const bool damaged : {false, true}) {
      if (damaged)
        memory_.put("/vm/disk.vmdk", "# Disk DescriptorFile\nversion=1\nlost");
      else
        ASSERT_OK(memory_.remove("/vm/disk.vmdk"));
      ASSERT_OK(rebuild_descriptor(files_, "/vm/disk.vmdk", {}));
      EXPECT_EQ(descriptor_of("/vm/disk.vmdk").create_type(), created);
      expect_content("/vm/disk.vmdk", 5 * kGiB);
    }
    for (const std::string& file : memory_.files())
      ASSERT_OK(memory_.remove(file));
  }
}

TEST_F(DescriptorEditTest, NothingIsMadeUp) {
  EXPECT_THAT(rebuild_descriptor(files_, "/vm/disk.vmdk", {}), HasMessage("no files that belong"));
  create("/vm/disk.vmdk", ImageType::kTwoGbMaxExtentSparse, 7 * kGiB);
  ASSERT_OK(memory_.remove("/vm/disk.vmdk"));
  ASSERT_OK(memory_.remove("/vm/disk-s002.vmdk"));
  EXPECT_THAT(rebuild_descriptor(files_, "/vm/disk.vmdk", {}), HasMessage("is missing"));
  EXPECT_THAT(rebuild_descriptor(files_, "/vm/disk-s001.vmdk", {}), HasMessage("another file"));
  memory_.put("/vm/odd-flat.vmdk", "not whole sectors");
  EXPECT_THAT(rebuild_descriptor(files_, "/vm/odd.vmdk", {}), HasMessage("whole number"));
  EXPECT_FALSE(memory_.exists("/vm/disk.vmdk"));
}

}  // namespace
}  // namespace vmdk::test
