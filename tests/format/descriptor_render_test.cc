#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "format/descriptor.h"

namespace vmdk {
namespace {

ExtentLine extent(ExtentType type, std::uint64_t length, std::string name) {
  ExtentLine line;
  line.type = type;
  line.length = Sectors(length);
  line.file_name = std::move(name);
  return line;
}

NewDescriptor some_descriptor() {
  NewDescriptor descriptor;
  descriptor.cid = 0x12ab;
  descriptor.create_type = "monolithicSparse";
  descriptor.extents = {extent(ExtentType::kSparse, 131072, "disk.vmdk")};
  descriptor.adapter = "ide";
  descriptor.cylinders = 130;
  descriptor.heads = 16;
  descriptor.sectors = 63;
  return descriptor;
}

TEST(RenderDescriptorTest, WritesTheFormThatEveryReaderKnows) {
  const auto text = render_descriptor(some_descriptor());
  ASSERT_TRUE(text) << text.error().message();
  EXPECT_EQ(*text,
            "# Disk DescriptorFile\n"
            "version=1\n"
            "encoding=\"UTF-8\"\n"
            "CID=000012ab\n"
            "parentCID=ffffffff\n"
            "createType=\"monolithicSparse\"\n"
            "\n"
            "# Extent description\n"
            "RW 131072 SPARSE \"disk.vmdk\"\n"
            "\n"
            "# The Disk Data Base\n"
            "#DDB\n"
            "\n"
            "ddb.virtualHWVersion = \"4\"\n"
            "ddb.geometry.cylinders = \"130\"\n"
            "ddb.geometry.heads = \"16\"\n"
            "ddb.geometry.sectors = \"63\"\n"
            "ddb.adapterType = \"ide\"\n"
            "ddb.toolsVersion = \"2147483647\"\n");
}

TEST(RenderDescriptorTest, PutsTheParentDirectlyBehindTheType) {
  auto descriptor = some_descriptor();
  descriptor.parent_cid = 0x0172e8a4;
  descriptor.parent_hint = "../base disk.vmdk";
  const auto text = render_descriptor(descriptor);
  ASSERT_TRUE(text) << text.error().message();
  EXPECT_NE(text->find("parentCID=0172e8a4\ncreateType=\"monolithicSparse\"\n"
                       "parentFileNameHint=\"../base disk.vmdk\"\n\n# Extent"),
            std::string::npos)
      << *text;
}

TEST(RenderDescriptorTest, GivesAnOffsetToFlatExtentsOnly) {
  auto descriptor = some_descriptor();
  descriptor.create_type = "custom";
  descriptor.extents = {extent(ExtentType::kFlat, 1, "a"), extent(ExtentType::kVmfs, 2, "b"),
                        extent(ExtentType::kSparse, 3, "c"), extent(ExtentType::kZero, 4, "")};
  descriptor.extents[0].offset = Sectors(63);
  descriptor.extents[0].access = ExtentAccess::kReadOnly;
  const auto text = render_descriptor(descriptor);
  ASSERT_TRUE(text) << text.error().message();
  EXPECT_NE(text->find("\nRDONLY 1 FLAT \"a\" 63\nRW 2 VMFS \"b\"\nRW 3 SPARSE \"c\"\nRW 4 ZERO\n"),
            std::string::npos)
      << *text;
}

TEST(RenderDescriptorTest, IsReadBackAsItWasMeant) {
  auto descriptor = some_descriptor();
  descriptor.parent_cid = 7;
  descriptor.parent_hint = "b\xC3\xA4se, old=1.vmdk";
  descriptor.extents = {extent(ExtentType::kSparse, 4192256, "d \xE6\x97\xA5-s001.vmdk"),
                        extent(ExtentType::kSparse, 1, "d-s002.vmdk")};
  const auto parsed = Descriptor::parse(*render_descriptor(descriptor));
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(parsed->cid(), descriptor.cid);
  EXPECT_EQ(parsed->parent_cid(), 7U);
  EXPECT_EQ(parsed->parent_hint(), descriptor.parent_hint);
  EXPECT_EQ(parsed->create_type(), descriptor.create_type);
  EXPECT_EQ(parsed->capacity(), Sectors(4192257));
  ASSERT_EQ(parsed->extents().size(), 2U);
  EXPECT_EQ(parsed->extents()[0].file_name, descriptor.extents[0].file_name);
  EXPECT_EQ(parsed->value("ddb.adapterType"), "ide");
  EXPECT_EQ(parsed->value("ddb.geometry.cylinders"), "130");
}

TEST(RenderDescriptorTest, RefusesWhatTheFormatCannotHold) {
  const auto expect_refused = [](const NewDescriptor& descriptor, std::string_view message) {
    const auto text = render_descriptor(descriptor);
    ASSERT_FALSE(text) << *text;
    EXPECT_EQ(text.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(text.error().message().find(message), std::string::npos) << text.error().message();
  };
  for (const std::string_view bad : {std::string_view("a\"b"), std::string_view("a\nb"),
                                     std::string_view("a\rb"), std::string_view("a\0b", 3)}) {
    auto descriptor = some_descriptor();
    descriptor.extents[0].file_name = bad;
    expect_refused(descriptor, "file name \"a");
    descriptor = some_descriptor();
    descriptor.parent_hint = bad;
    expect_refused(descriptor, "parent \"a");
    descriptor = some_descriptor();
    descriptor.adapter = bad;
    expect_refused(descriptor, "adapter \"a");
    descriptor = some_descriptor();
    descriptor.create_type = bad;
    expect_refused(descriptor, "createType \"a");
  }
}

TEST(RenderDescriptorTest, WritesNothingThatCouldNotBeRead) {
  const auto expect_refused = [](const NewDescriptor& descriptor, std::string_view message) {
    const auto text = render_descriptor(descriptor);
    ASSERT_FALSE(text) << *text;
    EXPECT_EQ(text.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(text.error().message().find(message), std::string::npos) << text.error().message();
  };
  auto descriptor = some_descriptor();
  descriptor.extents.clear();
  expect_refused(descriptor, "no extent line");
  descriptor = some_descriptor();
  descriptor.extents[0].length = Sectors(0);
  expect_refused(descriptor, "line 9: extent length \"0\"");
  descriptor = some_descriptor();
  descriptor.extents[0].file_name.clear();
  expect_refused(descriptor, "line 9: a file name");
  descriptor = some_descriptor();
  descriptor.create_type.clear();
  expect_refused(descriptor, "no createType");
  descriptor = some_descriptor();
  descriptor.parent_hint = std::string(4096, 'p');
  expect_refused(descriptor, "line 7: 4117 bytes");
}

TEST(GeometryTest, FollowsTheAdapter) {
  struct Case {
    std::uint64_t capacity;
    std::string_view adapter;
    std::uint32_t cylinders, heads;
  };

  for (const auto& expected : {
           Case{10485760, "ide", 10402, 16},         // 5 GiB
           Case{18432000, "ide", 16383, 16},         // the most that VMware writes
           Case{8192, "ide", 8, 16},                 // 4 MiB
           Case{8192, "IDE", 8, 16},                 //
           Case{1, "ide", 1, 16},                    //
           Case{10485760, "lsilogic", 652, 255},     //
           Case{83886080, "lsilogic", 5221, 255},    // 40 GiB
           Case{268435456, "buslogic", 16709, 255},  // 128 GiB
           Case{33554432, "legacyESX", 2088, 255},   // 16 GiB
           Case{1, "lsilogic", 1, 255},              //
           Case{(std::uint64_t{1} << 54U) - 1, "lsilogic", 0xFFFFFFFF, 255},
       }) {
    const auto geometry = geometry_for(Sectors(expected.capacity), expected.adapter);
    EXPECT_EQ(geometry.cylinders, expected.cylinders) << expected.capacity << expected.adapter;
    EXPECT_EQ(geometry.heads, expected.heads);
    EXPECT_EQ(geometry.sectors, 63U);
  }
}

}  // namespace
}  // namespace vmdk
