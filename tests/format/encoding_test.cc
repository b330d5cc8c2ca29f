// Names in the encodings that VMware's programs write.
#include "format/encoding.h"

#include <string>

#include <gtest/gtest.h>

#include "descriptor_text.h"
#include "format/descriptor.h"

namespace vmdk {
namespace {

TEST(EncodingTest, ThoseThatAreSeen) {
  EXPECT_EQ(to_utf8("Gr\xFC\xDF\x65.vmdk", "windows-1252"), "Grüße.vmdk");
  EXPECT_EQ(to_utf8("\xE4\xE8\xF1\xEA", "windows-1251"), "диск");
  EXPECT_EQ(to_utf8("\xB4\xC5\xC5\xCC.vmdk", "GBK"), "磁盘.vmdk");
  EXPECT_EQ(to_utf8("\xBA\xCF\xBA\xD0.vmdk", "big5"), "磁碟.vmdk");
  EXPECT_EQ(to_utf8("\x95\x5C.vmdk", "Shift_JIS"), "表.vmdk") << "its last byte is a backslash";
  EXPECT_EQ(to_utf8("a\\b", "Shift_JIS"), "a\\b") << "a path, not yen";
  EXPECT_EQ(to_utf8("", "GBK"), "");
}

TEST(EncodingTest, WhatCannotBeTakenForText) {
  EXPECT_EQ(to_utf8("x", "UTF-8"), std::nullopt);
  EXPECT_EQ(to_utf8("x", "utf-8"), std::nullopt);
  EXPECT_EQ(to_utf8("x", ""), std::nullopt);
  EXPECT_EQ(to_utf8("x", "klingon"), std::nullopt);
  EXPECT_EQ(to_utf8("x", "GBK//TRANSLIT"), std::nullopt) << "an option of iconv's, not a name";
  EXPECT_EQ(to_utf8("x", std::string(100, 'x')), std::nullopt);
  EXPECT_EQ(to_utf8("\xB4", "GBK"), std::nullopt) << "half a character";
  EXPECT_EQ(to_utf8("\x81", "windows-1252"), std::nullopt) << "no character";
}

TEST(EncodingTest, DescriptorsReadTheirNamesInIt) {
  const auto stated =
      Descriptor::parse(with_lines("encoding=\"GBK\"\nRW 1 FLAT \"\xB4\xC5.vmdk\" 0"));
  ASSERT_TRUE(stated);
  EXPECT_EQ(stated->in_utf8(stated->extents()[0].file_name), "磁.vmdk");
  const auto silent = Descriptor::parse(with_lines("RW 1 FLAT \"\xB4\xC5.vmdk\" 0"));
  ASSERT_TRUE(silent);
  EXPECT_EQ(silent->in_utf8("\xB4\xC5.vmdk"), "\xB4\xC5.vmdk");
}

}  // namespace
}  // namespace vmdk
