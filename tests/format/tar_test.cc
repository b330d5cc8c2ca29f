// Headers of tar archives, as ustar, pax and GNU write them, and as nobody should.
#include "format/tar.h"

#include <string>

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "support/matchers.h"
#include "support/tar_builder.h"

namespace vmdk::test {
namespace {

Result<std::optional<TarHeader>> decode(const TarEntry& entry) {
  return decode_tar_header(bytes_of(std::string_view(tar_entry(entry)).substr(0, kTarBlock)));
}

TarHeader header_of(const TarEntry& entry) {
  auto header = decode(entry);
  EXPECT_OK(header);
  return header && *header ? **header : TarHeader{};
}

TEST(TarTest, ABlockOfZerosIsTheEnd) {
  const auto end = decode_tar_header(bytes_of(std::string_view(tar_end()).substr(0, kTarBlock)));
  ASSERT_OK(end);
  EXPECT_FALSE(end->has_value());
}

TEST(TarTest, NameSizeAndType) {
  const TarHeader header = header_of({.name = "disk.vmdk", .data = std::string(1000, 'x')});
  EXPECT_EQ(header.name, "disk.vmdk");
  EXPECT_EQ(header.size, 1000U);
  EXPECT_EQ(header.type, TarType::kFile);
  EXPECT_EQ(header_of({.name = "d", .type = '\0'}).type, TarType::kFile);
  EXPECT_EQ(header_of({.name = "d/", .type = '5'}).type, TarType::kNothing);
  EXPECT_EQ(header_of({.name = "d", .type = 'x'}).type, TarType::kPax);
  EXPECT_EQ(header_of({.name = "d", .type = 'g'}).type, TarType::kPaxGlobal);
  EXPECT_EQ(header_of({.name = "d", .type = 'L'}).type, TarType::kGnuLongName);
  EXPECT_EQ(header_of({.name = "d", .type = 'K'}).type, TarType::kGnuLongLink);
  EXPECT_EQ(header_of({.name = "d", .type = 'S'}).type, TarType::kGnuSparse);
  EXPECT_EQ(header_of({.name = "d", .type = 'V'}).type, TarType::kOther);
}

TEST(TarTest, AFullNameAndAPrefix) {
  const std::string name(100, 'n');
  EXPECT_EQ(header_of({.name = name}).name, name);
  EXPECT_EQ(header_of({.name = "d.vmdk", .prefix = "a/b"}).name, "a/b/d.vmdk");
  EXPECT_EQ(header_of({.name = "d.vmdk", .prefix = "times", .magic = "ustar  "}).name, "d.vmdk")
      << "GNU keeps times there";
}

TEST(TarTest, FormsOfTheSize) {
  const auto size = [](std::string field) {
    return header_of({.name = "d", .size_field = std::move(field)}).size;
  };
  EXPECT_EQ(size("00000001750 "), 1000U);
  EXPECT_EQ(size("       1750 "), 1000U);
  EXPECT_EQ(size(std::string("1750\0\0\0\0\0\0\0\0", 12)), 1000U);
  EXPECT_EQ(size("777777777777"), 0777777777777U) << "all twelve digits, without an end";
  EXPECT_EQ(size(base256_size(1000)), 1000U);
  EXPECT_EQ(size(base256_size(1ULL << 40U)), 1ULL << 40U);
}

TEST(TarTest, SizesThatNoFileHas) {
  for (const std::string& field :
       {std::string("-0000001750 "), std::string("000000009 \0 "), std::string("17 50       "),
        std::string(12, '\xFF'), base256_size(1ULL << 63U),
        std::string("\x80\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 12)}) {
    const auto header = decode({.name = "disk.vmdk", .size_field = field});
    EXPECT_THAT(header, IsError(ErrorCode::kCorrupt)) << field;
    EXPECT_THAT(header, HasMessage("\"disk.vmdk\": its size is no number"));
  }
  EXPECT_EQ(header_of({.name = "l", .type = '2', .size_field = std::string(12, '\xFF')}).size, 0U)
      << "a link has no data, whatever its header says";
}

TEST(TarTest, ChecksumsCount) {
  EXPECT_THAT(decode({.name = "d", .checksum_field = "000001"}), HasMessage("checksum"));
  EXPECT_THAT(decode({.name = "d", .checksum_field = "8"}), HasMessage("checksum"));
  std::string block = tar_entry({.name = "d"});
  block[50] = 'x';
  EXPECT_THAT(decode_tar_header(bytes_of(block)), IsError(ErrorCode::kCorrupt));
}

TEST(TarTest, PaxRecords) {
  const auto records = parse_pax_records(pax_record("mtime", "1.5") + pax_record("path", "a=b\nc") +
                                         pax_record("size", "8589934592"));
  ASSERT_OK(records);
  EXPECT_EQ(records->path, "a=b\nc");
  EXPECT_EQ(records->size, 8589934592U);
  EXPECT_FALSE(records->sparse);
  EXPECT_TRUE(parse_pax_records(pax_record("GNU.sparse.major", "1"))->sparse);
  EXPECT_OK(parse_pax_records(""));
}

TEST(TarTest, WhatIsNoPaxRecord) {
  for (const std::string& text :
       {std::string("nonsense"), std::string("5"), std::string("0 a=b\n"), std::string("99 a=b\n"),
        std::string("6 a=b\nx"), std::string("5 ab\n"), std::string("1 \n"), std::string("2 \n"),
        std::string("18446744073709551615 a=b\n"), pax_record("size", "-1"),
        pax_record("size", "x"), pax_record("size", "99999999999999999999")})
    EXPECT_THAT(parse_pax_records(text), IsError(ErrorCode::kCorrupt)) << text;
}

}  // namespace
}  // namespace vmdk::test
