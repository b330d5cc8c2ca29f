// Changes of a descriptor that may change its length.
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "format/descriptor.h"
#include "support/matchers.h"

namespace vmdk::test {
namespace {

std::string text_with(const std::string& line_end, const std::string& begin = "") {
  std::string text = begin;
  for (const std::string line :
       {"# Disk DescriptorFile", "version=1", "CID=12345678", "parentCID=ffffffff",
        "createType=\"twoGbMaxExtentSparse\"", "", "# Extents", "RW 100 SPARSE \"a-s001.vmdk\"",
        "  RW\t7 SPARSE \"a-s002.vmdk\"", "", "ddb.adapterType = \"ide\"", "ddb.comment=x"})
    text += line + line_end;
  return text;
}

class DescriptorEditTextTest : public testing::TestWithParam<std::string> {};

TEST_P(DescriptorEditTextTest, AllOtherBytesStay) {
  for (const std::string begin : {"", "\xEF\xBB\xBF"}) {
    const std::string text = text_with(GetParam(), begin);
    ASSERT_OK_AND_ASSIGN(const Descriptor descriptor, Descriptor::parse(text));
    const auto expect = [&](const Result<Descriptor>& changed, std::string from, std::string to) {
      ASSERT_OK(changed);
      std::string expected = text;
      const std::size_t at = expected.find(from);
      ASSERT_NE(at, std::string::npos);
      expected.replace(at, from.size(), to);
      EXPECT_EQ(changed->text(), expected);
    };
    expect(descriptor.with_value("parentCID", "0badcafe"), "=ffffffff", "=0badcafe");
    expect(descriptor.with_value("DDB.ADAPTERTYPE", "lsilogic"), "\"ide\"", "\"lsilogic\"");
    expect(descriptor.with_value("ddb.comment", ""), "comment=x", "comment=");
    expect(descriptor.with_value("parentFileNameHint", "b.vmdk"),
           "createType=\"twoGbMaxExtentSparse\"" + GetParam(),
           "createType=\"twoGbMaxExtentSparse\"" + GetParam() + "parentFileNameHint=\"b.vmdk\"" +
               GetParam());
    expect(descriptor.with_value("ddb.uuid", "1 2"), "ddb.comment=x" + GetParam(),
           "ddb.comment=x" + GetParam() + "ddb.uuid = \"1 2\"" + GetParam());
    const std::vector<ExtentLine> more{
        {ExtentAccess::kReadWrite, ExtentType::kSparse, Sectors(9), "a-s003.vmdk", Sectors(), 0}};
    expect(descriptor.with_last_extent(Sectors(4192256), more), "RW\t7 SPARSE \"a-s002.vmdk\"",
           "RW\t4192256 SPARSE \"a-s002.vmdk\"" + GetParam() + "RW 9 SPARSE \"a-s003.vmdk\"");
  }
}

INSTANTIATE_TEST_SUITE_P(LineEnds, DescriptorEditTextTest, testing::Values("\n", "\r\n", "\r"));

TEST(DescriptorEditText, ALastLineWithoutAnEnd) {
  std::string text = text_with("\n");
  text.pop_back();
  ASSERT_OK_AND_ASSIGN(const Descriptor descriptor, Descriptor::parse(text));
  ASSERT_OK_AND_ASSIGN(const Descriptor changed, descriptor.with_value("ddb.x", "y"));
  EXPECT_EQ(changed.text(), text + "\nddb.x = \"y\"\n");
}

TEST(DescriptorEditText, WhatWouldBeReadAsSomethingElseIsRefused) {
  ASSERT_OK_AND_ASSIGN(const Descriptor descriptor, Descriptor::parse(text_with("\n")));
  for (const char* value : {"a\"b", "a\nb", "a\rb"})
    EXPECT_THAT(descriptor.with_value("ddb.y", value), IsError(ErrorCode::kInvalidArgument));
  // The value stands without quotes there.
  EXPECT_THAT(descriptor.with_value("ddb.comment", " x "), IsError(ErrorCode::kInvalidArgument));
  EXPECT_FALSE(descriptor.with_value("CID", "nonsense"));
  EXPECT_FALSE(descriptor.with_value("ddb.a b", "c"));
  EXPECT_FALSE(descriptor.with_value("ddb.long", std::string(5000, 'x')));
}

}  // namespace
}  // namespace vmdk::test
