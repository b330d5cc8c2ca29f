// Names in the encodings that VMware's programs write.
#include "format/encoding.h"

#include <optional>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "descriptor_text.h"
#include "format/descriptor.h"

namespace vmdk {
namespace {

std::optional<std::string> to_utf8(std::string_view text, std::string_view encoding) {
  const auto converter = NameConverter::open(encoding);
  return converter != nullptr ? converter->to_utf8(text) : std::nullopt;
}

TEST(EncodingTest, ThoseThatAreSeen) {
  EXPECT_EQ(to_utf8("Gr\xFC\xDF\x65.vmdk", "windows-1252"), "Grüße.vmdk");
  EXPECT_EQ(to_utf8("\xE4\xE8\xF1\xEA", "windows-1251"), "диск");
  EXPECT_EQ(to_utf8("\xB4\xC5\xC5\xCC.vmdk", "GBK"), "磁盘.vmdk");
  EXPECT_EQ(to_utf8("\xB4\xC5\xC5\xCC", "windows-936"), "磁盘");
  EXPECT_EQ(to_utf8("\x81\x30\x81\x30", "GB18030"), "\xC2\x80");
  EXPECT_EQ(to_utf8("\xBA\xCF\xBA\xD0.vmdk", "big5"), "磁碟.vmdk");
  EXPECT_EQ(to_utf8("\xB0\xA1", "EUC-KR"), "가");
  EXPECT_EQ(to_utf8("\xB4\xD8\xE1\xDA", "ISO-8859-5"), "Диск");
  EXPECT_EQ(to_utf8("\x95\x5C.vmdk", "Shift_JIS"), "表.vmdk") << "its last byte is a backslash";
  EXPECT_EQ(to_utf8("a\\b", "Shift_JIS"), "a\\b") << "a path, not yen";
  EXPECT_EQ(to_utf8("", "GBK"), "");
}

TEST(EncodingTest, EveryOneLeavesPathsAlone) {
  for (const char* encoding :
       {"windows-874",  "windows-932",  "windows-936",  "windows-949",  "windows-950",
        "windows-1250", "windows-1251", "windows-1252", "windows-1253", "windows-1254",
        "windows-1255", "windows-1256", "windows-1257", "windows-1258", "GBK",
        "GB2312",       "GB18030",      "Shift_JIS",    "Big5",         "EUC-KR",
        "ISO-8859-1",   "ISO-8859-15",  "iso-8859-16"})
    EXPECT_EQ(to_utf8("..\\a/B-1.vmdk", encoding), "..\\a/B-1.vmdk") << encoding;
}

TEST(EncodingTest, NoOther) {
  for (const char* encoding :
       {"", "UTF-8", "klingon", "GBK//TRANSLIT", "UTF-7", "UTF-16", "UTF-16LE", "ISO-2022-JP",
        "EBCDIC-US", "CP1252", "windows-", "windows-37", "windows-1252//IGNORE", "windows-12520",
        "ISO-8859-0", "ISO-8859-17", "ISO-8859-", "KOI8-R", "ARMSCII-8"})
    EXPECT_EQ(NameConverter::open(encoding), nullptr) << encoding;
  EXPECT_EQ(NameConverter::open(std::string(100, 'x')), nullptr);
  EXPECT_TRUE(is_utf8_already("") && is_utf8_already("utf-8") && is_utf8_already("UTF-8"));
  EXPECT_FALSE(is_utf8_already("UTF-7") || is_utf8_already("GBK"));
}

TEST(EncodingTest, WhatCannotBeTakenForText) {
  EXPECT_EQ(to_utf8("\xB4", "GBK"), std::nullopt) << "half a character";
  EXPECT_EQ(to_utf8("\x81", "windows-1252"), std::nullopt) << "no character";
}

TEST(EncodingTest, ANameDoesNotDependOnTheOneBefore) {
  const auto converter = NameConverter::open("GBK");
  ASSERT_NE(converter, nullptr);
  EXPECT_EQ(converter->to_utf8("a\xB4"), std::nullopt);
  EXPECT_EQ(converter->to_utf8("\xC5\xCC"), "盘");
  EXPECT_EQ(converter->to_utf8("a\xFF\xFF"), std::nullopt);
  EXPECT_EQ(converter->to_utf8("\xC5\xCC"), "盘");
}

// Its accents are characters of their own, behind the letter; the last letter may have none.
TEST(EncodingTest, VietnameseToItsLastLetter) {
  const auto converter = NameConverter::open("windows-1258");
  ASSERT_NE(converter, nullptr);
  EXPECT_EQ(converter->to_utf8("a"), "a");
  EXPECT_EQ(converter->to_utf8("a\xEC"), "á");
  EXPECT_EQ(converter->to_utf8("o\xD2.vmdk"), "ỏ.vmdk");
  EXPECT_EQ(converter->to_utf8("b"), "b");
}

TEST(EncodingTest, DescriptorsReadTheirNamesInIt) {
  const auto stated =
      Descriptor::parse(with_lines("encoding=\"GBK\"\nRW 1 FLAT \"\xB4\xC5.vmdk\" 0"));
  ASSERT_TRUE(stated);
  EXPECT_EQ(stated->in_utf8(stated->extents()[0].file_name), "磁.vmdk");
  const auto silent = Descriptor::parse(with_lines("RW 1 FLAT \"\xB4\xC5.vmdk\" 0"));
  ASSERT_TRUE(silent);
  EXPECT_EQ(silent->in_utf8("\xB4\xC5.vmdk"), "\xB4\xC5.vmdk");
  EXPECT_EQ(stated->unknown_encoding() + silent->unknown_encoding(), "");
  const auto unknown = Descriptor::parse(with_lines("encoding=\"UTF-7\"\nRW 1 FLAT \"+AGE-\" 0"));
  ASSERT_TRUE(unknown);
  EXPECT_EQ(unknown->in_utf8("+AGE-"), "+AGE-");
  EXPECT_EQ(unknown->unknown_encoding(), "UTF-7");
}

TEST(EncodingTest, ACopyOfADescriptorReadsThemToo) {
  auto original = Descriptor::parse(with_lines("encoding=\"GBK\"\nRW 1 FLAT \"f\" 0"));
  ASSERT_TRUE(original);
  const Descriptor copy = *original;
  original = Error::make(ErrorCode::kIo, "gone");
  EXPECT_EQ(copy.in_utf8("\xB4\xC5"), "磁");
}

}  // namespace
}  // namespace vmdk
